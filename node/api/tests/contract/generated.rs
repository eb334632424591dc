//! `src/gen` is what the `.proto` files generate. With `UPDATE_GENERATED=1` it is rewritten.

use std::fs;
use std::path::Path;

use prost_build::Module;

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = root.join("proto");
    let mut names: Vec<String> = fs::read_dir(&protos)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".proto"))
        .collect();
    names.sort();
    let mut set = protox::compile(&names, [&protos]).unwrap();
    for file in &mut set.file {
        for message in &mut file.message_type {
            for field in &mut message.field {
                field.name = field.name.take().map(|name| name.replace("URLs", "Urls"));
            }
        }
    }
    let modules: Vec<_> = set
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let mut files = prost_build::Config::new().bytes(["."]).generate(modules).unwrap();
    assert!(files.len() >= 11, "a package is missing");
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    for (module, code) in &mut files {
        let path = root.join("src/gen").join(module.to_file_name_or("root"));
        if update {
            fs::write(&path, code.as_bytes()).unwrap();
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == *code,
            "{} is stale: run the tests with UPDATE_GENERATED=1",
            path.display()
        );
    }
    let count = fs::read_dir(root.join("src/gen")).unwrap().count();
    assert_eq!(count, files.len(), "src/gen has a file that nothing generates");
}
