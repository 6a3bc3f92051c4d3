//! Reads a YAML template as CloudFormation's tools do. Merge keys, aliases and short tags are resolved, and each value has its
//! line.

use std::{collections::BTreeMap, fmt};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_yaml_ng::{Mapping, Value};

use super::{
    scalars::{as_text, plain},
    yaml::list,
};

/// The most values of a template once its aliases are resolved. Five hundred resources have about a tenth of that.
const MAX_VALUES: usize = 200_000;
/// The deepest nesting of values.
const MAX_DEPTH: usize = 100;
/// The intrinsic functions with a short form. Source: AWS CloudFormation User Guide, "Intrinsic function reference" and
/// "Rule-specific intrinsic functions".
const SHORT: [&str; 27] = [
    "And",
    "Base64",
    "Cidr",
    "Condition",
    "Contains",
    "EachMemberEquals",
    "EachMemberIn",
    "Equals",
    "FindInMap",
    "GetAZs",
    "GetAtt",
    "GetStackOutput",
    "If",
    "ImportValue",
    "Join",
    "Length",
    "Not",
    "Or",
    "Ref",
    "RefAll",
    "Select",
    "Split",
    "Sub",
    "ToJsonString",
    "Transform",
    "ValueOf",
    "ValueOfAll",
];

/// A value with its line. Line 0 means unknown.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

/// The value of a [`Node`].
#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(Value),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// An entry of a mapping. Its line is its key's.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: Value,
    pub(super) node: Node,
    /// True if the entry was merged by `<<`. An entry of the mapping itself replaces a merged one.
    is_merged: bool,
}

/// The reason why a text cannot be read as a template.
#[derive(Debug)]
pub(super) struct TemplateError {
    pub(super) line: usize,
    pub(super) reason: String,
    is_syntax: bool,
}

impl TemplateError {
    fn at(line: usize, reason: impl fmt::Display) -> Self {
        Self { line, reason: reason.to_string(), is_syntax: false }
    }
}

impl From<ScanError> for TemplateError {
    fn from(error: ScanError) -> Self {
        let reason = format!("is not YAML: {}", error.info());
        Self { is_syntax: true, ..Self::at(error.marker().line(), reason) }
    }
}

impl Node {
    /// The value without its lines.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => items.iter().map(Self::value).collect(),
            Content::Mapping(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.clone(), entry.node.value()));
                Value::Mapping(entries.collect::<Mapping>())
            }
        }
    }

    /// The entries, if it is a mapping.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    fn count(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => items.iter().map(Self::count).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| 1 + entry.node.count()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or_default(),
            Content::Mapping(entries) => entries.iter().map(|e| e.node.depth()).max().unwrap_or_default(),
        }
    }

    fn of(line: usize, value: Value) -> Self {
        let content = match value {
            Value::Sequence(items) => {
                Content::Sequence(items.into_iter().map(|item| Self::of(line, item)).collect())
            }
            Value::Mapping(entries) => {
                let entry = |(key, value)| Entry { line, key, node: Self::of(line, value), is_merged: false };
                Content::Mapping(entries.into_iter().map(entry).collect())
            }
            scalar => Content::Scalar(scalar),
        };
        Self { line, content }
    }
}

/// Reads a text with a single document.
pub(super) fn read(text: &str) -> Result<Node, TemplateError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), values: 0 }.document();
    match read {
        // JSON allows tabs and surrogate pairs where YAML does not.
        Err(error) if error.is_syntax && text.trim_start().starts_with('{') => {
            match serde_json::from_str::<Value>(text) {
                Ok(value) => Ok(Node::of(0, value)),
                Err(_) => Err(error),
            }
        }
        read => read,
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Node, TemplateError> {
        let mut document = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => {
                    return Ok(document.unwrap_or(Node { line: 1, content: Content::Scalar(Value::Null) }));
                }
                (Event::DocumentStart(_), span) if document.is_some() => {
                    let reason = "a second document begins here: a template is a single document";
                    return Err(TemplateError::at(span.start.line(), reason));
                }
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (event, span) => document = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), TemplateError> {
        match self.parser.next_event() {
            Some(event) => Ok(event?),
            None => Err(TemplateError::at(0, "is not YAML: unexpected end")),
        }
    }

    /// Reads the node that begins with the event.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, TemplateError> {
        let line = span.start.line();
        if depth >= MAX_DEPTH {
            return Err(TemplateError::at(
                line,
                format!("values are nested more than {MAX_DEPTH} levels deep"),
            ));
        }
        self.counted(1, line)?;
        let (anchor, tag, content) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(TemplateError::at(line, "this alias refers to a value that contains it"));
                };
                if depth + node.depth() > MAX_DEPTH {
                    return Err(TemplateError::at(
                        line,
                        format!("values are nested more than {MAX_DEPTH} levels deep"),
                    ));
                }
                self.counted(node.count(), line)?;
                return Ok(Node { line, ..node });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), line)?;
                (anchor, tag, Content::Scalar(value))
            }
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                (anchor, tag, Content::Sequence(items))
            }
            Event::MappingStart(anchor, tag) => (anchor, tag, Content::Mapping(self.mapping(depth)?)),
            _ => return Err(TemplateError::at(line, "is not YAML: a value is missing")),
        };
        let node = tagged(Node { line, content }, tag.as_deref())?;
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Reads the entries of a mapping, up to its end.
    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, TemplateError> {
        let mut entries = Entries::default();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let is_merge = match &event {
                Event::MappingEnd => return Ok(entries.list),
                Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
                _ => false,
            };
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if is_merge {
                entries.merge(&node)?;
                continue;
            }
            let Content::Scalar(key) = key.content else {
                return Err(TemplateError::at(
                    line,
                    "expected a string as the key, found a list or a mapping",
                ));
            };
            entries.add(Entry { line, key, node, is_merged: false })?;
        }
    }

    fn counted(&mut self, values: usize, line: usize) -> Result<(), TemplateError> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            let reason = format!("there are more than {MAX_VALUES} values, with those that aliases repeat");
            return Err(TemplateError::at(line, reason));
        }
        Ok(())
    }
}

/// The entries of a mapping while it is read.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    by_key: BTreeMap<String, usize>,
}

impl Entries {
    /// Adds an entry. It replaces one that was merged by `<<`; any other duplicate is an error.
    fn add(&mut self, entry: Entry) -> Result<(), TemplateError> {
        let key = as_text(&entry.key);
        match self.by_key.get(&key) {
            None => {
                self.by_key.insert(key, self.list.len());
                self.list.push(entry);
            }
            Some(&i) if self.list[i].is_merged => self.list[i] = entry,
            Some(&i) => {
                let first = self.list[i].line;
                let reason = format!("duplicate key `{key}`: the first is in line {first}");
                return Err(TemplateError::at(entry.line, reason));
            }
        }
        Ok(())
    }

    /// Adds the entries of a mapping whose keys are new, or those of a list of mappings, of which the first takes precedence.
    /// Source: YAML 1.1, "Merge Key Language-Independent Type".
    fn merge(&mut self, node: &Node) -> Result<(), TemplateError> {
        let sources = match &node.content {
            Content::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for source in sources {
            let Some(merged) = source.entries() else {
                let reason = "expected a mapping or a list of mappings after `<<`";
                return Err(TemplateError::at(source.line, reason));
            };
            for entry in merged {
                if !self.by_key.contains_key(&as_text(&entry.key)) {
                    self.add(Entry { is_merged: true, ..entry.clone() })?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a scalar by its style and its tag.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Value, TemplateError> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { plain(text) } else { text.into() });
    };
    if !tag.is_yaml_core_schema() {
        return Ok(text.into());
    }
    let value = match (tag.suffix.as_str(), plain(text)) {
        ("str", _) => text.into(),
        ("null", Value::Null) => Value::Null,
        ("bool", value @ Value::Bool(_))
        | ("int" | "float", value @ (Value::Number(_) | Value::Tagged(_))) => value,
        ("null" | "bool" | "int" | "float", _) => {
            return Err(TemplateError::at(
                line,
                format!("expected a value of type `!!{}`, found `{text}`", tag.suffix),
            ));
        }
        _ => return Err(unknown_type(tag, line)),
    };
    Ok(value)
}

fn unknown_type(tag: &Tag, line: usize) -> TemplateError {
    let reason = format!("CloudFormation does not support values of type `!!{}`", tag.suffix);
    TemplateError::at(line, reason)
}

/// Expands a short tag to its long form: `!Ref x` to `Ref: x`.
fn tagged(node: Node, tag: Option<&Tag>) -> Result<Node, TemplateError> {
    let Some(tag) = tag else { return Ok(node) };
    let line = node.line;
    if tag.is_yaml_core_schema() {
        return match (&node.content, tag.suffix.as_str()) {
            (Content::Scalar(_), _) | (Content::Sequence(_), "seq") | (Content::Mapping(_), "map") => {
                Ok(node)
            }
            _ => Err(unknown_type(tag, line)),
        };
    }
    // `!` alone marks a text, a list or a mapping as such, which it already is.
    if tag.suffix.is_empty() || tag.suffix == "!" {
        return Ok(node);
    }
    let word = tag.suffix.as_str();
    if tag.handle != "!" || !SHORT.contains(&word) {
        let reason = format!(
            "unknown tag `{}{word}`: write the function in its long form, `Fn::Name: ..`; the known tags are !{}",
            tag.handle,
            SHORT.join(", !")
        );
        return Err(TemplateError::at(line, reason));
    }
    let key = if matches!(word, "Ref" | "Condition") { word.to_owned() } else { format!("Fn::{word}") };
    let node = match (word, &node.content) {
        ("GetAtt", Content::Scalar(Value::String(path))) => match path.split_once('.') {
            Some((id, attribute)) => Node::of(line, list![id, attribute]),
            None => node,
        },
        _ => node,
    };
    let entry = Entry { line, key: key.into(), node, is_merged: false };
    Ok(Node { line, content: Content::Mapping(vec![entry]) })
}

#[cfg(test)]
mod tests {
    use super::{super::yaml::map, *};

    fn value(text: &str) -> Value {
        read(text).unwrap_or_else(|error| panic!("line {}: {}\n{text}", error.line, error.reason)).value()
    }

    fn refused(text: &str) -> String {
        let error = read(text).unwrap_err();
        format!("{}: {}", error.line, error.reason)
    }

    #[test]
    fn short_tags_are_expanded() {
        for (short, long) in [
            ("!Ref B", "{Ref: B}"),
            ("!Sub '${C}-d'", "{'Fn::Sub': '${C}-d'}"),
            ("!Sub ['${C}-d', {C: !Ref X}]", "{'Fn::Sub': ['${C}-d', {C: {Ref: X}}]}"),
            ("!Sub\n  - ${C}\n  - C: !GetAtt D.E.F", "{'Fn::Sub': ['${C}', {C: {'Fn::GetAtt': [D, E.F]}}]}"),
            ("!GetAtt E.Outputs.F", "{'Fn::GetAtt': [E, Outputs.F]}"),
            ("!GetAtt [E, !Ref F]", "{'Fn::GetAtt': [E, {Ref: F}]}"),
            ("!If [G, !Ref H, !Join ['', [i]]]", "{'Fn::If': [G, {Ref: H}, {'Fn::Join': ['', [i]]}]}"),
            ("!Not [!Condition A]", "{'Fn::Not': [{Condition: A}]}"),
            ("!Transform {Name: AWS::Include}", "{'Fn::Transform': {Name: AWS::Include}}"),
            ("!Select [0, !GetAZs '']", "{'Fn::Select': [0, {'Fn::GetAZs': ''}]}"),
            ("!Base64 yes", "{'Fn::Base64': 'yes'}"),
            ("!Ref 12", "{Ref: '12'}"),
            ("{'Fn::Sub': x}", "{'Fn::Sub': x}"),
            ("!!str 12", "'12'"),
            ("! 12", "'12'"),
            ("!!int 12", "12"),
            ("!!seq [a]", "[a]"),
        ] {
            assert_eq!(value(&format!("a: {short}\n")), value(&format!("a: {long}\n")), "{short}");
        }
    }

    #[test]
    fn merge_keys_and_aliases_are_resolved() {
        let text = "p: &p {a: 1, b: 2}\nq: &q {b: 3, c: 4}\nx: {<<: *p, b: 5}\ny: {b: 6, <<: [*p, *q]}\n\
                    z:\n  <<: *p\n  <<: *q\nw: *q\nl: {\"<<\": 1}\nn: {<<: {a: &s !Ref T}, u: *s}\n";
        let wanted = "p: {a: 1, b: 2}\nq: {b: 3, c: 4}\nx: {a: 1, b: 5}\ny: {b: 6, a: 1, c: 4}\n\
                      z: {a: 1, b: 2, c: 4}\nw: {b: 3, c: 4}\nl: {'<<': 1}\nn: {a: {Ref: T}, u: {Ref: T}}\n";
        assert_eq!(value(text), value(wanted));
    }

    #[test]
    fn line_endings_document_marks_and_json_are_read_alike() {
        let text = "A:\n  - b: |\n      one\n      two\n  - \"c\"\n";
        for other in [text.replace('\n', "\r\n"), format!("\u{feff}{text}"), format!("---\n{text}...\n")] {
            assert_eq!(value(&other), value(text), "{other:?}");
        }
        let json =
            "{\n\t\"A\": [1, 1.10, true, null, \"\\ud83d\\ude00\\/\"],\n\t\"B\": {\"C\": \"2010-09-09\"}\n}";
        let read: Value = serde_json::from_str(json).unwrap();
        assert_eq!(value(json)["A"][4], "\u{1f600}/");
        assert_eq!(value(json)["B"], read["B"]);
    }

    #[test]
    fn an_unreadable_template_is_reported_with_its_line() {
        let mut laughs = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
            laughs = format!("{laughs}b{i}: &a{i} [{aliases}]\n");
        }
        let deep = format!("a: {}", "[".repeat(200));
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3: duplicate key `a`: the first is in line 1"),
            ("a:\n  b: 1\n  b: 2\n", "3: duplicate key `b`"),
            ("a: 1\n---\nb: 2\n", "2: a second document begins here"),
            ("a:\n\t- b\n", "2: is not YAML: "),
            ("a: !Sbu x\n", "1: unknown tag `!Sbu`"),
            ("a: 1\nb: !Foo::Bar x\n", "2: unknown tag `!Foo::Bar`"),
            ("a: !!binary aGk=\n", "1: CloudFormation does not support values of type `!!binary`"),
            ("a: !!set {b}\n", "1: CloudFormation does not support values of type `!!set`"),
            ("a: !!int x\n", "1: expected a value of type `!!int`, found `x`"),
            ("a: 1\n<<: 2\n", "2: expected a mapping or a list of mappings after `<<`"),
            ("a: 1\nb: *c\n", "2: is not YAML: "),
            ("a: &a [*a]\n", "1: "),
            ("? [a]\n: b\n", "1: expected a string as the key"),
            ("a: b: c\n", "1: is not YAML: "),
            (laughs.as_str(), "there are more than 200000 values"),
            (deep.as_str(), "1: "),
        ] {
            let message = refused(text);
            assert!(message.contains(expected), "{text}\n{message}");
        }
    }

    #[test]
    fn lines_are_those_of_the_keys() {
        let node = read("\u{feff}# x\r\na: 1\r\n\r\nb:\r\n  c: 2\r\n").unwrap();
        let lines: Vec<_> = node.entries().unwrap().iter().map(|entry| entry.line).collect();
        assert_eq!(lines, [2, 4]);
        assert_eq!(map! { "a" => 1, "b" => map! { "c" => 2 } }, node.value());
    }
}
