//! `plegcollect completions` and `plegcollect man`, both made from the flags themselves.

use std::io::{self, Write as _};

use clap::Args;
use clap_complete::Shell;

use super::error::AppError;
use super::{exit, output};

/// Print shell completions
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to print them for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<u8, AppError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "plegcollect", &mut text);
    emit(&text)
}

/// One page for all: clap_mangen renders the top, and what each command adds follows it.
pub(crate) fn man(command: clap::Command) -> Result<u8, AppError> {
    let mut text = Vec::new();
    page(&command, &mut text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot make the man page: {e}")))?;
    emit(&text)
}

fn page(command: &clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    let top = clap_mangen::Man::new(command.clone()).manual("plegcollect");
    top.render_title(out)?;
    top.render_name_section(out)?;
    out.extend_from_slice(b".SH SYNOPSIS\n.nf\nplegcollect \\-\\-nodes PATTERN [FLAG...]\n");
    let commands: Vec<&clap::Command> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    for sub in &commands {
        let mut words = vec!["plegcollect".to_owned(), sub.get_name().to_owned()];
        if sub.get_arguments().any(|a| !a.is_positional()) {
            words.push("[FLAG...]".to_owned());
        }
        for arg in sub.get_positionals() {
            let name = value_name(arg);
            words.push(if arg.is_required_set() { name } else { format!("[{name}]") });
        }
        writeln!(out, "{}", escaped(&words.join(" ")))?;
    }
    out.extend_from_slice(b".fi\n");
    top.render_description_section(out)?;
    top.render_options_section(out)?;
    out.extend_from_slice(
        b".SH COMMANDS\nFlags of the sections above hold for a command where it has them too; its help tells.\n",
    );
    for sub in commands {
        writeln!(out, ".SS {}", escaped(sub.get_name()))?;
        let about = sub.get_long_about().or_else(|| sub.get_about()).map(ToString::to_string).unwrap_or_default();
        for paragraph in about.split("\n\n") {
            writeln!(out, "{}\n.PP", escaped(&paragraph.replace('\n', " ")))?;
        }
        let known = |arg: &clap::Arg| {
            command.get_arguments().any(|other| other.get_id() == arg.get_id() && other.get_help() == arg.get_help())
        };
        for arg in sub.get_arguments().filter(|a| !a.is_hide_set() && !known(a)) {
            let mut names = Vec::new();
            names.extend(arg.get_short().map(|c| format!("-{c}")));
            names.extend(arg.get_long().map(|l| format!("--{l}")));
            let mut head = names.join(", ");
            if arg.is_positional() {
                head = value_name(arg);
            } else if arg.get_action().takes_values() {
                head = format!("{head} {}", value_name(arg));
            }
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(out, ".TP\n\\fB{}\\fR\n{}", escaped(&head), escaped(&help))?;
        }
    }
    out.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    writeln!(out, "{}", escaped(&after.replace('\n', " ")))?;
    top.render_version_section(out)
}

fn value_name(arg: &clap::Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.first().map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
}

/// Text as roff takes it literally.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn emit(text: &[u8]) -> Result<u8, AppError> {
    output::print(&String::from_utf8_lossy(text))
        .map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(exit::COMPLETE)
}
