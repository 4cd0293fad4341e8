import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

/**
 * pgjdbc: simple and extended modes, statements prepared on the server from the first or fifth use,
 * cursors by fetch size, what tools ask of the metadata.
 */
public class Jdbc {
    interface Work {
        Object run(int port) throws Exception;
    }

    static final int DIRECT = Integer.parseInt(System.getenv("DIRECT_PORT"));
    static final int GATEWAY = Integer.parseInt(System.getenv("GATEWAY_PORT"));
    static final int CLIENTS = 4;
    static final int ROUNDS = 2;

    /** Each must be refused with 25006 and leave nothing behind. */
    static final String[] WRITES = {
        "INSERT INTO authors (name) VALUES ('refused')", "UPDATE books SET price = 0", "DELETE FROM loans",
        "TRUNCATE loans", "CREATE TABLE refused (a int)", "SELECT * INTO refused FROM books",
        "SELECT * FROM books FOR UPDATE", "SELECT nextval('tickets')", "SELECT add_author('refused')",
    };
    static final String STATE = "SELECT (SELECT count(*) FROM authors), (SELECT count(*) FROM loans), "
        + "(SELECT sum(price) FROM books), (SELECT count(*) FROM pg_class), (SELECT is_called FROM tickets)";

    static Connection connect(int port, String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", "disable");
        properties.setProperty("ApplicationName", "drivers");
        properties.setProperty("loginTimeout", "10");
        String host = "127.0.0.1";
        for (int n = 0; n < options.length; n += 2) {
            if (options[n].equals("host")) host = options[n + 1];
            else properties.setProperty(options[n], options[n + 1]);
        }
        return DriverManager.getConnection(
            "jdbc:postgresql://" + host + ":" + port + "/" + System.getenv("PGDATABASE"), properties);
    }

    /** All rows, and what is said about the columns. */
    static List<Object> read(ResultSet rows) throws SQLException {
        List<Object> found = new ArrayList<>();
        ResultSetMetaData about = rows.getMetaData();
        for (int n = 1; n <= about.getColumnCount(); n++) {
            found.add(about.getColumnLabel(n) + " " + about.getColumnTypeName(n) + " " + about.getColumnClassName(n) + " "
                + about.getPrecision(n) + " " + about.getScale(n));
        }
        while (rows.next()) {
            List<String> row = new ArrayList<>();
            for (int n = 1; n <= about.getColumnCount(); n++) {
                Object value = rows.getObject(n);
                row.add(value instanceof byte[] bytes ? Arrays.toString(bytes) : String.valueOf(value));
            }
            found.add(row);
        }
        rows.close();
        return found;
    }

    static List<Object> query(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int n = 0; n < values.length; n++) statement.setObject(n + 1, values[n]);
            return read(statement.executeQuery());
        }
    }

    static String failure(Connection connection, String sql) {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
            return "no error";
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    static Object reads(int port, boolean isAutocommit, String... options) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Connection connection = connect(port, options)) {
            connection.setAutoCommit(isAutocommit);
            for (int n = 0; n < 8; n++) {
                seen.add(query(connection, "SELECT id, a_bool, a_small, a_big, a_real, a_double, a_numeric, a_text, a_char, "
                    + "a_bytea, a_time, an_interval, a_uuid, an_inet, a_json, a_jsonb, ints, texts, a_range, a_point, a_mood, "
                    + "a_composite, an_isbn FROM kinds WHERE id > ? AND id <> 2 ORDER BY id", n % 3));
                seen.add(query(connection, "SELECT title, price FROM books WHERE author_id = ? AND title LIKE ? ORDER BY id",
                    1 + n % 3, "%1%"));
                seen.add(query(connection, "SELECT a_stamptz, a_date, a_stamp FROM kinds WHERE id = 1"));
                if (n % 3 == 2 && !isAutocommit) connection.commit();
            }
            seen.add(failure(connection, "SELECT 1 / 0"));
            seen.add(failure(connection, "SELECT * FROM absent"));
            if (!isAutocommit) connection.rollback();
            try (Statement statement = connection.createStatement()) {
                boolean isRows = statement.execute("SELECT 1; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem");
                while (isRows) {
                    seen.add(read(statement.getResultSet()));
                    isRows = statement.getMoreResults();
                }
            }
        }
        return seen;
    }

    static Object fetched(int port) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Connection connection = connect(port)) {
            connection.setAutoCommit(false);
            for (int size : new int[] {1, 7, 100}) {
                try (PreparedStatement statement = connection.prepareStatement("SELECT id, title FROM books WHERE id > ? ORDER BY id")) {
                    statement.setInt(1, 3);
                    statement.setFetchSize(size);
                    statement.setMaxRows(30);
                    try (ResultSet rows = statement.executeQuery()) {
                        // Two portals open at once.
                        rows.next();
                        seen.add(query(connection, "SELECT count(*) FROM books"));
                        seen.add(rows.getString(2));
                        seen.add(read(rows));
                    }
                }
            }
            try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
                ResultSet rows = statement.executeQuery("SELECT id FROM books ORDER BY id");
                rows.absolute(10);
                seen.add(rows.getInt(1));
                rows.previous();
                seen.add(rows.getInt(1));
            }
            // A cursor that is left open when its transaction ends.
            Statement statement = connection.createStatement();
            statement.setFetchSize(5);
            ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 100) AS n");
            rows.next();
            connection.commit();
            try {
                while (rows.next()) seen.add(rows.getInt(1));
            } catch (SQLException error) {
                seen.add(error.getSQLState());
            }
            connection.rollback();
            seen.add(query(connection, "SELECT 'still here'"));
        }
        return seen;
    }

    static Object metadata(int port) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Connection connection = connect(port)) {
            DatabaseMetaData about = connection.getMetaData();
            seen.add(about.getDatabaseProductVersion() + about.getMaxConnections() + about.getUserName() + about.isReadOnly()
                + about.getDefaultTransactionIsolation() + about.getSQLKeywords());
            seen.add(read(about.getCatalogs()));
            seen.add(read(about.getSchemas()));
            seen.add(read(about.getTableTypes()));
            seen.add(read(about.getTables(null, "library", "%", null)));
            seen.add(read(about.getTables(null, null, "%", new String[] {"TABLE", "VIEW", "MATERIALIZED VIEW", "SYSTEM TABLE"})));
            seen.add(read(about.getColumns(null, "library", "%", "%")));
            seen.add(read(about.getPrimaryKeys(null, "library", "books")));
            seen.add(read(about.getImportedKeys(null, "library", "books")));
            seen.add(read(about.getExportedKeys(null, "library", "authors")));
            seen.add(read(about.getIndexInfo(null, "library", "books", false, true)));
            seen.add(read(about.getBestRowIdentifier(null, "library", "books", DatabaseMetaData.bestRowSession, true)));
            seen.add(read(about.getFunctions(null, "library", "%")));
            seen.add(read(about.getFunctionColumns(null, "library", "%", "%")));
            seen.add(read(about.getProcedures(null, "library", "%")));
            seen.add(read(about.getTablePrivileges(null, "library", "%")));
            seen.add(read(about.getColumnPrivileges(null, "library", "books", "%")));
            seen.add(read(about.getTypeInfo()));
            seen.add(read(about.getUDTs(null, "library", "%", null)));
            seen.add(read(about.getClientInfoProperties()));
            try (PreparedStatement statement = connection.prepareStatement("SELECT id, tags FROM books WHERE price < ? AND mood = ?::mood")) {
                seen.add(statement.getParameterMetaData().getParameterTypeName(1));
                seen.add(statement.getMetaData().getColumnTypeName(2));
            }
            seen.add(connection.getSchema() + connection.getCatalog() + connection.isValid(5) + connection.getTransactionIsolation());
        }
        return seen;
    }

    static Object sessions(int port) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Connection connection = connect(port, "options", "-c work_mem=7MB", "readOnly", "true")) {
            seen.add(query(connection, "SHOW work_mem"));
            for (int level : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE}) {
                connection.setTransactionIsolation(level);
                connection.setAutoCommit(false);
                connection.setReadOnly(true);
                seen.add(query(connection, "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"));
                Savepoint here = connection.setSavepoint();
                seen.add(failure(connection, "SELECT 'x'::int"));
                connection.rollback(here);
                seen.add(query(connection, "SELECT max(id) FROM books"));
                connection.releaseSavepoint(connection.setSavepoint("named"));
                connection.commit();
                connection.setAutoCommit(true);
            }
            connection.setSchema("pg_catalog");
            seen.add(failure(connection, "SELECT * FROM books"));
            connection.setSchema("library");
            seen.add(query(connection, "SELECT count(*) FROM books"));
            connection.setClientInfo("ApplicationName", "renamed");
            seen.add(query(connection, "SHOW application_name"));
            connection.setNetworkTimeout(Runnable::run, 20000);
            // Cancelled by its own timer, and by another thread.
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                seen.add(statement.executeQuery("SELECT pg_sleep(30)"));
            } catch (SQLException error) {
                seen.add(error.getSQLState());
            }
            try (Statement statement = connection.createStatement()) {
                ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
                timer.schedule(() -> { statement.cancel(); return null; }, 300, TimeUnit.MILLISECONDS);
                try {
                    seen.add(statement.executeQuery("SELECT pg_sleep(30)"));
                } catch (SQLException error) {
                    seen.add(error.getSQLState());
                }
                timer.shutdownNow();
            }
            seen.add(query(connection, "SELECT 'still here'"));
        }
        return seen;
    }

    /** A batch may hold only what returns no rows: here settings, and one that fails. */
    static Object batches(int port) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Connection connection = connect(port); Statement statement = connection.createStatement()) {
            for (String sql : new String[] {"SET work_mem = '7MB'", "SET TIME ZONE 'Asia/Tokyo'", "RESET work_mem"}) statement.addBatch(sql);
            seen.add(Arrays.toString(statement.executeBatch()));
            for (String sql : new String[] {"SET work_mem = '8MB'", "SELECT 1", "SELECT 1 / 0"}) statement.addBatch(sql);
            try {
                seen.add(Arrays.toString(statement.executeBatch()));
            } catch (BatchUpdateException error) {
                seen.add(error.getSQLState() + Arrays.toString(error.getUpdateCounts()));
            }
            seen.add(query(connection, "SHOW work_mem"));
            seen.add(query(connection, "SHOW TimeZone"));
            java.io.StringWriter out = new java.io.StringWriter();
            seen.add(connection.unwrap(org.postgresql.PGConnection.class).getCopyAPI().copyOut("COPY books TO STDOUT", out));
            seen.add(out);
            CallableStatement call = connection.prepareCall("{? = call twice(?)}");
            call.registerOutParameter(1, Types.INTEGER);
            call.setInt(2, 21);
            call.execute();
            seen.add(call.getInt(1));
        }
        return seen;
    }

    static Object refusals(int port, String mode) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Connection connection = connect(port, "preferQueryMode", mode)) {
            for (String sql : WRITES) seen.add(failure(connection, sql));
            connection.setAutoCommit(false);
            query(connection, "SELECT 1");
            seen.add(failure(connection, WRITES[0]));
            seen.add(failure(connection, "SELECT 1"));
            connection.rollback();
            connection.setAutoCommit(true);
            try (PreparedStatement statement = connection.prepareStatement("INSERT INTO authors (name) VALUES (?)")) {
                for (int n = 0; n < 3; n++) {
                    statement.setString(1, "refused " + n);
                    statement.addBatch();
                }
                statement.executeBatch();
            } catch (SQLException error) {
                seen.add(error.getSQLState());
            }
            seen.add(read(connection.createStatement().executeQuery("SELECT 'still here' AS x")).get(1));
        }
        return seen;
    }

    static String once(int port, String sql, String... options) throws Exception {
        try (Connection connection = connect(port, options)) {
            return query(connection, sql).toString();
        }
    }

    static void check(String name, String direct, String through) {
        if (direct.equals(through)) {
            System.out.println("ok " + name);
            return;
        }
        int start = 0;
        while (start < Math.min(direct.length(), through.length()) && direct.charAt(start) == through.charAt(start)) start++;
        start = Math.max(0, start - 200);
        System.out.println("DIFFERS " + name + "\n  direct:  " + direct.substring(start, Math.min(direct.length(), start + 1200))
            + "\n  gateway: " + through.substring(start, Math.min(through.length(), start + 1200)));
        System.exit(1);
    }

    /** Does the work directly, then by several clients at once through the gateway, each twice. */
    static void compare(String name, Work work) throws Exception {
        String direct = work.run(DIRECT).toString();
        ExecutorService clients = Executors.newFixedThreadPool(CLIENTS);
        List<Future<String>> found = new ArrayList<>();
        for (int n = 0; n < CLIENTS * ROUNDS; n++) found.add(clients.submit(() -> work.run(GATEWAY).toString()));
        for (Future<String> one : found) {
            String through;
            try {
                through = one.get(60, TimeUnit.SECONDS);
            } catch (ExecutionException error) {
                through = error.getCause() + Arrays.toString(error.getCause().getStackTrace());
            }
            if (!direct.equals(through)) check(name, direct, through);
        }
        clients.shutdownNow();
        check(name, direct, direct);
    }

    public static void main(String[] arguments) throws Exception {
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            compare("reads, " + mode, port -> reads(port, true, "preferQueryMode", mode));
        }
        for (String threshold : new String[] {"1", "5", "0", "-1"}) {
            compare("reads, prepared from " + threshold, port -> reads(port, true, "prepareThreshold", threshold));
            compare("reads in blocks, prepared from " + threshold, port -> reads(port, false, "prepareThreshold", threshold));
        }
        compare("reads, few statements kept", port -> reads(port, false, "prepareThreshold", "1", "preparedStatementCacheQueries", "1"));
        compare("reads, autosave", port -> reads(port, false, "autosave", "always"));
        compare("fetch size", Jdbc::fetched);
        compare("metadata", Jdbc::metadata);
        compare("sessions", Jdbc::sessions);
        compare("batches", Jdbc::batches);
        check("TLS", once(DIRECT, "TABLE shelf"), once(GATEWAY, "TABLE shelf", "host", "localhost",
            "sslmode", "verify-full", "sslrootcert", System.getenv("GATEWAY_CA")));

        String before = once(DIRECT, STATE);
        List<Object> expected = new ArrayList<>(Collections.nCopies(WRITES.length + 1, "25006"));
        expected.addAll(List.of("25P02", "25006", List.of("still here")));
        for (String mode : new String[] {"simple", "extended"}) {
            check("writes refused, " + mode, expected.toString(), refusals(GATEWAY, mode).toString());
        }
        check("nothing written", before, once(DIRECT, STATE));
    }
}
