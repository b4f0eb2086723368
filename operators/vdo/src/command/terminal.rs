//! The terminal: questions, and passwords that are not shown.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use infra_clients::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::error::Error;

/// Variable with the password of a vCenter's account.
const VARIABLE: &str = "VDO_PASSWORD";
/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;
/// Longest password that is read.
const LONGEST: u64 = 4096;

/// The terminal of the person who runs the command.
pub(super) struct Terminal {
    out: File,
    input: BufReader<File>,
}

impl Terminal {
    /// Returns the terminal, if standard input is one.
    pub(super) fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let out = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        let input = BufReader::new(out.try_clone().ok()?);
        Some(Self { out, input })
    }

    /// Asks a question.
    pub(super) fn ask(&mut self, question: &str) -> Result<String, Error> {
        self.out.write_all(question.as_bytes())?;
        let mut answer = String::new();
        self.input.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Asks a question that is answered with yes or no; all but a yes is a no.
    pub(super) fn agrees(&mut self, question: &str) -> Result<bool, Error> {
        let answer = self.ask(&format!("{question} [y/N] "))?;
        Ok(["y", "yes"].contains(&answer.to_lowercase().as_str()))
    }

    /// Asks for a password, which is not shown. Ctrl-C ends the question, as a process that it ended would leave the terminal as it is.
    pub(super) fn ask_password(&mut self, question: &str) -> Result<Secret, Error> {
        let before = tcgetattr(&self.out).map_err(std::io::Error::from)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(&self.out, OptionalActions::Flush, &hidden).map_err(std::io::Error::from)?;
        let restored = Restored { terminal: self.out.try_clone()?, before };
        self.out.write_all(question.as_bytes())?;
        let line = password_line(&mut self.input);
        drop(restored);
        self.out.write_all(b"\n")?;
        line
    }
}

/// Reads a password to the end of its line.
fn password_line(input: &mut impl BufRead) -> Result<Secret, Error> {
    let mut line = Vec::new();
    for byte in input.take(LONGEST).bytes() {
        match byte? {
            CTRL_C => return Err(Error::Usage("no password was given".to_owned())),
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    let text = String::from_utf8(line);
    let text = text.map_err(|_| Error::Usage("the password is no text in UTF-8".to_owned()))?;
    Ok(Secret::new(text))
}

/// Shows again what is typed when it is dropped.
struct Restored {
    terminal: File,
    before: Termios,
}

impl Drop for Restored {
    fn drop(&mut self) {
        // There is nothing else to do about it.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Reads a password: from a file (`-` is standard input), else from the variable, else from the terminal. Never from an argument, which all
/// processes of the machine can read.
pub(super) fn password(file: Option<&Path>, question: &str) -> Result<Secret, Error> {
    if let Some(file) = file {
        return of_file(file);
    }
    if let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        return Ok(Secret::new(text));
    }
    let mut terminal = Terminal::open().ok_or_else(|| {
        Error::Usage(format!("no password: write it into a file and name that with --password-file, or into the variable {VARIABLE}"))
    })?;
    terminal.ask_password(question)
}

fn of_file(file: &Path) -> Result<Secret, Error> {
    let of_io = |error: std::io::Error| Error::Usage(format!("--password-file {}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).map_err(of_io)?;
    } else {
        File::open(file).map_err(of_io)?.take(LONGEST).read_to_string(&mut text).map_err(of_io)?;
    }
    let password = Secret::new(text);
    let trimmed = password.expose().trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() {
        return Err(Error::Usage(format!(
            "--password-file {}: it is empty: write the password into it",
            file.display()
        )));
    }
    Ok(Secret::new(trimmed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_with_its_line() {
        let read = |text: &[u8]| password_line(&mut &*text);
        assert_eq!(read(b" p\"a\\ss \nmore").unwrap().expose(), " p\"a\\ss ");
        assert_eq!(read(b"end").unwrap().expose(), "end");
        assert!(read(b"half\x03").unwrap_err().to_string().contains("no password was given"));
        assert!(read(b"p\xff\n").unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn a_password_file_is_read_without_its_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (text, wanted) in [("p\"a\\ss\n", "p\"a\\ss"), (" blank ", " blank "), ("ü\r\n", "ü")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(of_file(&file).unwrap().expose(), wanted);
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(of_file(&file).unwrap_err().to_string().contains("it is empty"));
        let missing = of_file(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.starts_with("--password-file /no/such/file: No such file"), "{missing}");
    }
}
