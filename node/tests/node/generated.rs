//! `src/gen` is what the services' `.proto` files generate. With `UPDATE_GENERATED=1` it is
//! rewritten.

use std::fs;
use std::path::Path;

use prost_build::{Config, Module};

/// Files whose services a member serves.
const SERVICES: [&str; 6] = [
    "cluster_service.proto",
    "health.proto",
    "kv_service.proto",
    "lease_service.proto",
    "maintenance_service.proto",
    "watch_service.proto",
];

/// Answers that are sent as they are stored: their messages are the server's own.
const SENT_AS_STORED: [&str; 3] = ["RangeResponse", "RangeStreamResponse", "WatchResponse"];

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = protox::compile(SERVICES, [root.join("api/proto")]).unwrap();
    let modules: Vec<_> = set
        .file
        .into_iter()
        .filter(|file| !file.service.is_empty())
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let stubs = tonic_prost_build::configure().build_client(false).build_transport(false);
    let mut config = Config::new();
    config.service_generator(stubs.service_generator());
    for package in ["etcdserverpb", "mvccpb"] {
        config.extern_path(format!(".{package}"), format!("::quorate_api::{package}"));
    }
    for message in SENT_AS_STORED {
        let path = format!("crate::grpc::encoded::{message}");
        config.extern_path(format!(".etcdserverpb.{message}"), path);
    }
    config.extern_path(".grpc.health.v1", "::quorate_api::healthpb");
    let files = config.generate(modules).unwrap();
    assert_eq!(files.len(), 2, "a package is missing");
    for (module, code) in &files {
        let path = root.join("src/gen").join(module.to_file_name_or("root"));
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, code.as_bytes()).unwrap();
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == *code,
            "{} is stale: run the tests with UPDATE_GENERATED=1",
            path.display()
        );
    }
    assert_eq!(fs::read_dir(root.join("src/gen")).unwrap().count(), files.len());
}
