//! The graph of a crate's modules, and its cycles.
//!
//! An edge leads from a module to each module whose items it names, in a `use` or in a path that begins with `crate`,
//! `super` or `self`. Two kinds of edges are left out: those from a module to its own children, since a parent declares and
//! re-exports them, and those of unit tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::{rust_files, without_tests};

/// A module's path in its crate, e.g. `["table", "job"]`. The crate's root is empty.
pub type Module = Vec<String>;

/// For each module, the modules whose items it names.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Returns the cycles of the crate with this `src` folder: for each, the modules that depend on each other.
pub fn cycles(src: &Path) -> Vec<BTreeSet<Module>> {
    let graph = graph(src);
    let reached: BTreeMap<_, _> = graph.keys().map(|module| (module, reached_from(&graph, module))).collect();
    let mut cycles: Vec<BTreeSet<Module>> = Vec::new();
    for module in graph.keys().filter(|module| reached[module].contains(*module)) {
        if !cycles.iter().any(|cycle| cycle.contains(module)) {
            let is_mutual = |other: &&Module| reached[other].contains(module);
            cycles.push(reached[module].iter().filter(is_mutual).cloned().collect());
        }
    }
    cycles
}

/// The modules at the ends of all paths from a module.
fn reached_from(graph: &Graph, module: &Module) -> BTreeSet<Module> {
    let (mut open, mut reached) = (vec![module], BTreeSet::new());
    while let Some(module) = open.pop() {
        for next in &graph[module] {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    reached
}

fn graph(src: &Path) -> Graph {
    let mut graph = Graph::new();
    let mut texts = Vec::new();
    for file in rust_files(src) {
        let module = module_of(file.strip_prefix(src).unwrap());
        graph.entry(module.clone()).or_default();
        texts.push((module, fs::read_to_string(&file).unwrap()));
    }
    let modules: BTreeSet<Module> = graph.keys().cloned().collect();
    for (module, text) in texts.iter().filter(|(module, _)| module.last().is_none_or(|name| name != "tests"))
    {
        let named = paths(&tokens(without_tests(text)));
        let targets = named.iter().filter_map(|path| resolve(&modules, module, path));
        let targets = targets.filter(|target| target != module && !is_child(module, target));
        graph.get_mut(module).unwrap().extend(targets);
    }
    graph
}

/// The module of a file below `src`. A binary in `src/bin` counts as a module of its own.
fn module_of(file: &Path) -> Module {
    let mut names: Module =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let is_root = names.len() == 1 && (names[0] == "lib" || names[0] == "main");
    let is_binary = names.len() == 3 && names[0] == "bin" && names[2] == "main";
    if is_root || is_binary || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// True for a child of the module. Every module counts as a child of the crate's root.
fn is_child(module: &[String], target: &[String]) -> bool {
    module.is_empty() || (target.len() == module.len() + 1 && target.starts_with(module))
}

/// Finds the module that a path in `module` leads to: the longest prefix of the path that is a module.
fn resolve(modules: &BTreeSet<Module>, module: &[String], path: &[String]) -> Option<Module> {
    let root = if module.first().is_some_and(|name| name == "bin") { module.len().min(2) } else { 0 };
    let supers = path.iter().take_while(|name| *name == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        "crate" => (&module[..root], &path[1..]),
        "self" => (module, &path[1..]),
        "super" => (&module[..module.len().saturating_sub(supers)], &path[supers..]),
        child if modules.contains(&[module, &[child.to_owned()]].concat()) => (module, path),
        _ => return None,
    };
    (0..=rest.len()).rev().map(|length| [base, &rest[..length]].concat()).find(|path| modules.contains(path))
}

/// The paths that a file names: those of each `use`, and each path from `crate`, `super` or `self`.
fn paths(tokens: &[&str]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_start = at == 0 || tokens[at - 1] != "::";
        match tokens[at] {
            "use" if tokens.get(at + 1).is_some_and(|next| *next != "<") => {
                let length = tokens[at..].iter().position(|token| *token == ";").unwrap_or(tokens.len() - at);
                used(&mut tokens[at + 1..at + length].iter().copied().peekable(), &[], &mut paths);
                at += length;
            }
            "crate" | "super" | "self" if is_start && tokens.get(at + 1) == Some(&"::") => {
                let mut path = vec![tokens[at].to_owned()];
                while tokens.get(at + 1) == Some(&"::")
                    && tokens.get(at + 2).is_some_and(|next| is_name(next))
                {
                    path.push(tokens[at + 2].to_owned());
                    at += 2;
                }
                paths.push(path);
                at += 1;
            }
            _ => at += 1,
        }
    }
    paths
}

type Tokens<'a, 'b> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, &'b str>>>;

/// Reads one tree of a `use`, up to the comma or brace behind it.
fn used(tokens: &mut Tokens<'_, '_>, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.next_if(|token| *token != "," && *token != "}") {
        match token {
            "{" => {
                while tokens.peek().is_some_and(|token| *token != "}") {
                    used(tokens, &path, paths);
                    let _ = tokens.next_if_eq(&",");
                }
                tokens.next();
                return;
            }
            "as" => drop(tokens.next()),
            "::" => {}
            name => path.push(name.to_owned()),
        }
    }
    paths.push(path);
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits code into names, `::` and single characters. Comments are left out.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for line in code.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if rest.starts_with("::") {
                2
            } else if is_name(rest) {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            tokens.push(&rest[..length]);
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Writes a made-up crate and returns its cycles, each as the names of its modules.
#[cfg(test)]
fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let cycles = cycles(folder.path());
    cycles.iter().map(|cycle| cycle.iter().map(|module| module.join("::")).collect()).collect()
}

#[test]
fn a_tree_without_a_cycle_has_none() {
    let files = [
        ("lib.rs", "pub mod low;\npub mod high;\npub use high::High;\npub use low::Low;\n"),
        ("low.rs", "//! Not a dependency: crate::high::High\npub struct Low; // crate::high\n"),
        ("low/part.rs", "use super::Low;\nfn part(_: Low) {}\n"),
        ("low/tests.rs", "use crate::high::High;\n"),
        (
            "high/mod.rs",
            "mod inner;\npub use inner::Inner;\nuse crate::{\n    low::{self, part},\n    low::Low as Base,\n};\n",
        ),
        ("high/inner.rs", "use crate::Low;\npub struct Inner(crate::low::Low);\n"),
    ];
    assert_eq!(cycles_of(&files), Vec::<Vec<String>>::new());
    let with_tests = format!("{}\n#[cfg(test)]\nmod tests {{\n    use crate::high::High;\n}}\n", files[1].1);
    assert_eq!(
        cycles_of(&[files[0], ("low.rs", &with_tests), files[4], files[5]]),
        Vec::<Vec<String>>::new()
    );
}

#[test]
fn each_cycle_is_found_once_with_all_of_its_modules() {
    let found = cycles_of(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nmod e;\n"),
        ("a.rs", "use crate::{b::{B, Other}, e};\n"),
        ("b.rs", "fn b() -> super::c::C {\n    todo!()\n}\n"),
        ("c.rs", "pub(crate) use crate::a::A as First;\n"),
        ("d/mod.rs", "use super::e::E;\n"),
        ("d/inner.rs", "struct Inner(super::D);\n"),
        ("e.rs", "use crate::d::inner::Inner;\n"),
        ("bin/tool/main.rs", "mod one;\nmod two;\n"),
        ("bin/tool/one.rs", "use crate::two::Two;\n"),
        ("bin/tool/two.rs", "use super::one::One;\n"),
    ]);
    let expected = [&["a", "b", "c"][..], &["bin::tool::one", "bin::tool::two"], &["d", "d::inner", "e"]];
    assert_eq!(found, expected);
}
