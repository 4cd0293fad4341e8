# syntax=docker/dockerfile:1

FROM rust:1-slim-bookworm AS build
WORKDIR /src
# What the program is made of and nothing else: see .dockerignore.
COPY . .
# The mounts keep downloads and compiled dependencies from one build to the next, out of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
    && strip -o /pgsluice target/release/pgsluice

# glibc, libgcc and the certificates that UPSTREAM_SSLROOTCERT=system trusts; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="pgsluice" \
      org.opencontainers.image.description="A PostgreSQL gateway: a read-only endpoint, a pooler and a cache" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /pgsluice /usr/local/bin/pgsluice
EXPOSE 5433
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["/usr/local/bin/pgsluice", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/pgsluice"]
CMD ["serve"]
