//! Arguments that may come from the environment: empty is unset, and a value that makes no sense is called by its variable.

use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Command, Error};

pub(crate) fn matches(command: Command) -> Result<ArgMatches, Error> {
    let command = without(command, is_empty);
    command
        .clone()
        .try_get_matches()
        .map_err(|error| called_by_its_variable(error, command))
}

/// The same command, deaf to some variables.
fn without(command: Command, which: fn(&OsStr) -> bool) -> Command {
    let deaf = command.mut_args(|arg| match arg.get_env() {
        Some(name) if which(name) => arg.env(None::<&'static str>),
        _ => arg,
    });
    deaf.mut_subcommands(|command| without(command, which))
}

fn is_empty(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// What is wrong without the environment, too, is wrong on the command line.
fn called_by_its_variable(mut error: Error, mut command: Command) -> Error {
    let Some(flag) = argument(&error) else {
        return error;
    };
    let mut deaf = without(command.clone(), |_| true);
    let is_there_too = deaf
        .try_get_matches_from_mut(std::env::args_os())
        .is_err_and(|other| argument(&other).as_ref() == Some(&flag));
    // An argument can be shown only then.
    command.build();
    if !is_there_too && let Some(name) = variable(&command, &flag) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
    error
}

fn argument(error: &Error) -> Option<String> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(name) => Some(name.clone()),
        _ => None,
    }
}

/// The variable of an argument that is shown like this.
fn variable(command: &Command, shown: &str) -> Option<String> {
    let of = |arg: &Arg| Some(arg.get_env()?.to_string_lossy().into_owned());
    let mut args = command.get_arguments();
    args.find(|arg| arg.to_string() == shown)
        .and_then(of)
        .or_else(|| {
            command
                .get_subcommands()
                .find_map(|command| variable(command, shown))
        })
}
