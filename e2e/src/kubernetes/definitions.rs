//! The definitions as a real API server takes them: rules, defaults, and a great many wrong
//! resources. Speaks through `kubectl`, whose cluster and namespace are the caller's choice.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use quorate_operator_api::{BackupSpec, ClusterSpec, definitions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The cases that the crate of the definitions runs locally.
const RULES: &str = include_str!("../../../operator/api/tests/api/rules.yaml");

#[derive(Deserialize)]
struct Rule {
    rule: String,
    kind: Option<String>,
    #[serde(default)]
    taken: Vec<Value>,
    #[serde(default)]
    refused: Vec<Value>,
    changes: Option<Sides<(Value, Value)>>,
    names: Option<Sides<String>>,
}

#[derive(Deserialize)]
struct Sides<T> {
    #[serde(default = "Vec::new")]
    taken: Vec<T>,
    #[serde(default = "Vec::new")]
    refused: Vec<T>,
}

/// What was asked and what was not as it should be.
#[derive(Default)]
struct Tally {
    asked: usize,
    wrong: Vec<String>,
}

/// Ask for everything, in this namespace.
pub(crate) fn run(namespace: &str) -> anyhow::Result<()> {
    let server = Server { namespace };
    let mut tally = Tally::default();
    defaults(&server, &mut tally)?;
    println!("defaults: {} asked", tally.asked);
    let before = tally.asked;
    rules(&server, &mut tally)?;
    println!("rules: {} asked", tally.asked - before);
    let before = tally.asked;
    mutants(&server, &mut tally)?;
    println!("wrong resources: {} asked", tally.asked - before);
    ensure!(tally.wrong.is_empty(), "not as it should be:\n{}", tally.wrong.join("\n"));
    Ok(())
}

struct Server<'a> {
    namespace: &'a str,
}

impl Server<'_> {
    /// What `kubectl` says, on its output if it succeeds.
    fn ask(&self, arguments: &[&str], object: &Value) -> anyhow::Result<Result<String, String>> {
        let mut child = Command::new("kubectl")
            .args(["--namespace", self.namespace])
            .args(arguments)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl cannot be run")?;
        child.stdin.take().context("piped")?.write_all(object.to_string().as_bytes())?;
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        })
    }

    fn would_create(&self, object: &Value) -> anyhow::Result<Result<String, String>> {
        self.ask(&["create", "--dry-run=server", "--validate=ignore", "-o", "json"], object)
    }

    /// Create the first for a moment, and see whether it could become the second.
    fn would_change(&self, old: &Value, new: &Value) -> anyhow::Result<Result<String, String>> {
        if let Err(error) = self.ask(&["create", "--validate=ignore"], old)? {
            return Ok(Err(format!("the old one is refused: {error}")));
        }
        let answer = self.ask(&["replace", "--dry-run=server", "--validate=ignore"], new)?;
        self.ask(&["delete"], old)?.map_err(anyhow::Error::msg)?;
        Ok(answer)
    }
}

impl Tally {
    fn is_taken(&mut self, case: &str, answer: Result<String, String>) {
        self.asked += 1;
        if let Err(error) = answer {
            self.wrong.push(format!("{case} is refused: {error}"));
        }
    }

    fn is_refused(&mut self, case: &str, words: &str, answer: Result<String, String>) {
        self.asked += 1;
        match answer {
            Ok(_) => self.wrong.push(format!("{case} is taken")),
            Err(error) if !error.contains(words) => {
                self.wrong.push(format!("{case} is refused without {words:?}: {error}"));
            }
            Err(_) => {}
        }
    }
}

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "quorate.io/v1alpha1", "kind": kind,
        "metadata": { "name": name }, "spec": spec,
    })
}

/// What the API server fills in is what the types have by default.
fn defaults(server: &Server<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    let backup: BackupSpec = serde_json::from_value(json!({ "cluster": "a" }))?;
    for (kind, given, expected) in [
        ("QuorateCluster", json!({}), serde_json::to_value(ClusterSpec::default())?),
        ("QuorateBackup", json!({ "cluster": "a" }), serde_json::to_value(backup)?),
    ] {
        tally.asked += 1;
        match server.would_create(&resource(kind, "a", &given))? {
            Ok(text) => {
                let filled: Value = serde_json::from_str(&text)?;
                if filled["spec"] != expected {
                    let found = &filled["spec"];
                    tally.wrong.push(format!("{kind} becomes {found}, not {expected}"));
                }
            }
            Err(error) => tally.wrong.push(format!("an empty {kind} is refused: {error}")),
        }
    }
    Ok(())
}

fn rules(server: &Server<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    let rules: Vec<Rule> = serde_yaml::from_str(RULES)?;
    for Rule { rule, kind, taken, refused, changes, names } in rules {
        let kind = kind.as_deref().unwrap_or("QuorateCluster");
        let creation = |spec: &Value| server.would_create(&resource(kind, "a", spec));
        for spec in &taken {
            tally.is_taken(&spec.to_string(), creation(spec)?);
        }
        for spec in &refused {
            tally.is_refused(&spec.to_string(), &rule, creation(spec)?);
        }
        let change = |(old, new): &(Value, Value)| {
            server.would_change(&resource(kind, "a", old), &resource(kind, "a", new))
        };
        let changes = changes.unwrap_or(Sides { taken: Vec::new(), refused: Vec::new() });
        for pair in &changes.taken {
            tally.is_taken(&format!("{pair:?}"), change(pair)?);
        }
        for pair in &changes.refused {
            tally.is_refused(&format!("{pair:?}"), &rule, change(pair)?);
        }
        let naming = |name: &str| server.would_create(&resource(kind, name, &json!({})));
        let names = names.unwrap_or(Sides { taken: Vec::new(), refused: Vec::new() });
        for name in &names.taken {
            tally.is_taken(name, naming(name)?);
        }
        for name in &names.refused {
            tally.is_refused(name, &rule, naming(name)?);
        }
    }
    Ok(())
}

/// Every field of a specification, with a value that is wrong in a way of its own.
fn mutants(server: &Server<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    for definition in definitions() {
        let kind = &definition.spec.names.kind;
        let schema = definition.spec.versions[0].schema.as_ref();
        let schema = schema.and_then(|all| all.open_api_v3_schema.as_ref()).context("a schema")?;
        let schema = serde_json::to_value(schema)?;
        let mut wrong = Vec::new();
        collect(&schema["properties"]["spec"], &mut Vec::new(), &mut wrong);
        ensure!(wrong.len() > 20, "{kind}: only {} wrong values", wrong.len());
        for (path, value) in wrong {
            let mut spec = match kind.as_str() {
                "QuorateBackup" => json!({ "cluster": "a" }),
                _ => json!({}),
            };
            set(&mut spec, &path, value.clone());
            // Whatever else is missing around it, the answer names this field.
            let field = format!("spec.{}", path.join("."));
            let answer = server.would_create(&resource(kind, "a", &spec))?;
            tally.is_refused(&format!("{kind} with {field} = {value}"), &field, answer);
        }
    }
    Ok(())
}

/// Kubernetes' own types have tests of their own.
const FOREIGN: &[&str] = &["affinity", "resources", "tolerations", "topologySpreadConstraints"];

fn collect(schema: &Value, path: &mut Vec<String>, wrong: &mut Vec<(Vec<String>, Value)>) {
    let of_type = schema["type"].as_str().unwrap_or_default();
    let mut add = |value: Value| wrong.push((path.clone(), value));
    if !path.is_empty() {
        match of_type {
            "string" => {
                add(json!(7));
                add(json!({ "a": "b" }));
            }
            "integer" => add(json!("many")),
            "boolean" => add(json!("perhaps")),
            "object" => add(json!("no object")),
            "array" => add(json!("no list")),
            _ => {}
        }
        if let Some(minimum) = schema["minimum"].as_f64() {
            add(json!(minimum as i64 - 1));
        }
        if let Some(maximum) = schema["maximum"].as_f64() {
            add(json!(maximum as i64 + 1));
        }
        if schema["enum"].is_array() {
            add(json!("NobodyKnows"));
        }
        if schema["pattern"].is_string() {
            add(json!("/\u{2603} !"));
        }
        if let Some(longest) = schema["maxLength"].as_u64() {
            add(json!("a".repeat(longest as usize + 1)));
        }
        if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
            add(json!(""));
        }
    }
    let none = Map::new();
    for (name, property) in schema["properties"].as_object().unwrap_or(&none) {
        if !FOREIGN.contains(&name.as_str()) {
            path.push(name.clone());
            collect(property, path, wrong);
            path.pop();
        }
    }
}

fn set(object: &mut Value, path: &[String], value: Value) {
    match path {
        [] => *object = value,
        [name, rest @ ..] => set(&mut object[name.as_str()], rest, value),
    }
}
