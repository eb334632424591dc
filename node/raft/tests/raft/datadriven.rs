//! The format of golden scripts: a directive with arguments, perhaps input lines, `----`, and the
//! output up to a blank line. Output that has blank lines itself stands between doubled `----`.

use std::fmt::Write as _;

/// One argument: a bare word, or a key with values, as in `drop=(2,3)`.
#[derive(Debug, Clone)]
pub(crate) struct Argument {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) struct Directive {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) input: String,
    pub(crate) expected: String,
    /// Everything from the end of the directive before up to the output, kept for rewriting.
    source: String,
}

impl Directive {
    /// The values of the argument `key`.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        let found = self.arguments.iter().find(|argument| argument.key == key);
        found.map_or(&[], |argument| &argument.values)
    }

    /// The single value of `key`, if it is there.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values(key).first().map(String::as_str)
    }

    /// The arguments that are numbers by themselves.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let words = self.arguments.iter().filter(|argument| argument.values.is_empty());
        words.filter_map(|argument| argument.key.parse().ok()).collect()
    }

    /// The first number.
    pub(crate) fn first_number(&self) -> u64 {
        *self.numbers().first().unwrap_or_else(|| panic!("line {}: a number is missing", self.line))
    }

    /// The bare word at `position`.
    pub(crate) fn word(&self, position: usize) -> &str {
        &self.arguments[position].key
    }
}

fn parse_arguments(line: &str) -> Vec<Argument> {
    let mut arguments = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        let mut values = Vec::new();
        rest = &rest[end..];
        if let Some(value) = rest.strip_prefix('=') {
            let list = value.strip_prefix('(');
            let end = match list {
                Some(_) => value.find(')').expect("a closing parenthesis") + 1,
                None => value.find(' ').unwrap_or(value.len()),
            };
            let inner = value[..end].trim_start_matches('(').trim_end_matches(')');
            values = inner.split(',').map(|part| part.trim().to_owned()).collect();
            rest = &value[end..];
        }
        arguments.push(Argument { key, values });
        rest = rest.trim_start();
    }
    arguments
}

/// Splits a script into its directives.
pub(crate) fn parse(text: &str) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    loop {
        let mut source = String::new();
        let mut header = None;
        for (number, line) in lines.by_ref() {
            let _ = writeln!(source, "{line}");
            if !line.trim().is_empty() && !line.starts_with('#') {
                header = Some((number + 1, line.to_owned()));
                break;
            }
        }
        let Some((number, header)) = header else { return directives };
        let mut input = String::new();
        for (_, line) in lines.by_ref() {
            let _ = writeln!(source, "{line}");
            if line == "----" {
                break;
            }
            let _ = writeln!(input, "{line}");
        }
        let doubled = lines.peek().is_some_and(|(_, line)| *line == "----");
        let mut expected = String::new();
        if doubled {
            lines.next();
        }
        let mut is_closing = false;
        for (_, line) in lines.by_ref() {
            match (doubled, line) {
                (false, "") => break,
                (true, "----") if is_closing => break,
                (true, "----") => is_closing = true,
                _ => {
                    let _ = writeln!(expected, "{line}");
                }
            }
        }
        let mut arguments = parse_arguments(&header);
        let command = arguments.remove(0).key;
        directives.push(Directive { line: number, command, arguments, input, expected, source });
    }
}

/// The script with new outputs.
pub(crate) fn render(directives: &[Directive], outputs: &[String]) -> String {
    let mut text = String::new();
    for (position, (directive, output)) in directives.iter().zip(outputs).enumerate() {
        if position > 0 {
            text.push('\n');
        }
        let source = directive.source.trim_start_matches('\n');
        text.push_str(source);
        text.push_str(output.trim_end_matches('\n'));
        text.push('\n');
    }
    text
}
