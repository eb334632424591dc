//! Our own golden scripts, one scenario a file. `QUORATE_REWRITE=1` writes what came out into
//! the files; the difference is then for a human to read.

use std::path::Path;

use crate::datadriven;
use crate::environment::Environment;
use crate::interaction;

/// Fewer scripts than this means that some were lost.
const SCRIPTS_MIN: usize = 20;

#[test]
fn own_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= SCRIPTS_MIN, "only {} scripts", paths.len());
    let rewrite = std::env::var_os("QUORATE_REWRITE").is_some();
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a script");
        let directives = datadriven::parse(&text);
        assert!(directives.len() > 3, "{} does nothing", path.display());
        let mut environment = Environment::new();
        let outputs: Vec<String> = directives
            .iter()
            .map(|directive| interaction::run(&mut environment, directive))
            .collect();
        if rewrite {
            std::fs::write(path, datadriven::render(&directives, &outputs)).expect("to write");
            continue;
        }
        let difference = directives
            .iter()
            .zip(&outputs)
            .find(|(directive, output)| directive.expected != **output);
        if let Some((directive, output)) = difference {
            failures.push(format!(
                "{}:{}: {}\n--- expected\n{}--- actual\n{output}",
                path.display(),
                directive.line,
                directive.command,
                directive.expected
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
