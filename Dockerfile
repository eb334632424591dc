# Two small images without a shell, a package manager or a user that may do anything:
#
#   docker build --target node -t quorate .
#   docker build --target operator -t quorate-operator .

FROM rust:1-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --profile dist --locked -p quorate -p quorate-operator
RUN e2e/image-root /image/node target/dist/quorate \
    && ln -s quorate /image/node/usr/local/bin/etcd \
    && install -d -o 65532 -g 65532 -m 0700 /image/node/var/lib/quorate \
    && e2e/image-root /image/operator target/dist/quorate-operator

# A member. Who expects etcd in its image finds it under that name, with the same flags.
FROM scratch AS node
COPY --from=build /image/node/ /
USER 65532:65532
VOLUME ["/var/lib/quorate"]
EXPOSE 2379 2380 2381
ENTRYPOINT ["/usr/local/bin/quorate"]

FROM scratch AS operator
COPY --from=build /image/operator/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/quorate-operator"]
