//! JSON objects from the command line, from files and from stdin.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
};

use lamplighter_core::value::MAX_NESTING;
use lamplighter_project::tasks::local_values::SecretsFile;
use serde_json::{Map, Value};

use crate::lookup::Misuse;

/// The option with the values of references on this machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Secrets {
    /// A TOML file with the values of references on this machine: `"{{resolve:ssm:/shop/token}}" = "value"`.
    #[arg(long, value_name = "FILE", env = "LAMPLIGHTER_SECRETS", hide_env_values = true)]
    secrets: Option<PathBuf>,
}

impl Secrets {
    /// The file that the option names.
    pub(crate) fn file(&self) -> SecretsFile {
        SecretsFile(self.secrets.clone())
    }
}

/// A JSON object.
type Object = Map<String, Value>;

/// A place that a JSON object is read from.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// The command line itself.
    Object(Object),
    /// A file.
    File(PathBuf),
    /// Stdin.
    Stdin,
}

/// Understands a word of the command line: an object, `@FILE`, or `-`. The files are read later.
pub(crate) fn given(text: &str) -> Result<Given, String> {
    match text.strip_prefix('@') {
        _ if text == "-" => Ok(Given::Stdin),
        Some("") => Err("a file's name must follow `@`".to_owned()),
        Some(path) => Ok(Given::File(path.into())),
        None => object(text).map(Given::Object),
    }
}

fn object(text: &str) -> Result<Object, String> {
    // As other programs begin files with a mark of their encoding, which is no JSON.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        let why = error.to_string();
        if why.starts_with("recursion limit exceeded") {
            return format!("it is nested more than {MAX_NESTING} levels deep");
        }
        format!("{why}; it must be an object, such as {{\"key\": 1}}, `@FILE`, or `-` for stdin")
    })
}

impl Given {
    /// Reads it. `what` is its name on the command line.
    pub(crate) fn read(&self, what: &str) -> Result<Object, Misuse> {
        let read = |from: &str, text: io::Result<String>| {
            let object = text.map_err(|error| error.to_string()).and_then(|text| object(&text));
            object.map_err(|why| Misuse(format!("{what}: {from}: {why}")))
        };
        match self {
            Self::Object(object) => Ok(object.clone()),
            Self::File(path) => read(&path.display().to_string(), fs::read_to_string(path)),
            Self::Stdin => {
                let mut text = String::new();
                read("stdin", io::stdin().lock().read_to_string(&mut text).map(|_| text))
            }
        }
    }
}

/// Reads several, each with its name on the command line; null where none is given.
pub(crate) fn read<const N: usize>(given: [(&str, &Option<Given>); N]) -> Result<[Value; N], Misuse> {
    let of_stdin = given.iter().filter(|(_, given)| matches!(given, Some(Given::Stdin)));
    let of_stdin: Vec<_> = of_stdin.map(|(what, _)| *what).collect();
    if of_stdin.len() > 1 {
        return Err(Misuse(format!("{}: only one of them can be `-`", of_stdin.join(" and "))));
    }
    let mut values = [const { Value::Null }; N];
    for (value, (what, given)) in values.iter_mut().zip(given) {
        if let Some(given) = given {
            *value = Value::Object(given.read(what)?);
        }
    }
    Ok(values)
}
