#!/bin/sh
# A standby of `demo-primary`: copies it once, then streams.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    pg_basebackup --dbname='host=demo-primary user=replicator application_name=replica' \
        --pgdata="$PGDATA" --wal-method=stream --checkpoint=fast --write-recovery-conf
    chmod 0700 "$PGDATA"
fi
exec postgres -D "$PGDATA"
