//! Asks the processes of a pipeline, through their sockets in its state folder.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Longer than a compiler may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The socket of a process.
pub(crate) fn socket_of(folder: &Path, process: u32) -> PathBuf {
    folder.join(format!("control.{process}.sock"))
}

/// What a process answered.
#[derive(Debug)]
pub struct Answer {
    /// Its process id.
    pub process: u32,
    /// HTTP's status: 200 if it went well.
    pub status: u16,
    /// JSON, or what it said instead.
    pub body: Value,
}

/// Asks every process of the pipeline whose state folder this is; none if none runs.
///
/// # Errors
/// If the folder cannot be read, or a process is there and does not answer.
pub fn ask(folder: &Path, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for (process, socket) in sockets(folder)? {
        let Some(mut reader) = open(&socket, method, path, body)? else { continue };
        let status = head(&mut reader)?;
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.trim_end()));
        answers.push(Answer { process, status, body });
    }
    Ok(answers)
}

/// Follows what one process says line by line, until `take` says false or the process ends. False if none runs.
///
/// # Errors
/// If the folder cannot be read, or the process refuses.
pub fn follow(folder: &Path, path: &str, mut take: impl FnMut(&[u8]) -> bool) -> std::io::Result<bool> {
    for (_, socket) in sockets(folder)? {
        let Some(mut reader) = open(&socket, "GET", path, None)? else { continue };
        // Rows may be long in coming.
        reader.get_ref().set_read_timeout(None)?;
        let status = head(&mut reader)?;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if status != 200 {
                return Err(std::io::Error::other(String::from_utf8_lossy(&line).into_owned()));
            }
            if !take(&line) {
                break;
            }
            line.clear();
        }
        return Ok(true);
    }
    Ok(false)
}

fn sockets(folder: &Path) -> std::io::Result<Vec<(u32, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let process = name.strip_prefix("control.").and_then(|rest| rest.strip_suffix(".sock"));
        if let Some(Ok(process)) = process.map(str::parse) {
            sockets.push((process, path));
        }
    }
    sockets.sort();
    Ok(sockets)
}

/// Connects; `None` if nobody is there: the process has ended, or was killed and left its socket, which is removed.
pub(crate) fn connect(socket: &Path) -> std::io::Result<Option<UnixStream>> {
    match UnixStream::connect(socket) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(socket).ok();
            Ok(None)
        }
        // It may be somebody else's, and alive.
        Err(error) => Err(error),
    }
}

/// Sends a request; `None` if nobody is there.
fn open(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> std::io::Result<Option<BufReader<UnixStream>>> {
    let Some(mut stream) = connect(socket)? else { return Ok(None) };
    stream.set_read_timeout(Some(TIMEOUT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    // HTTP/1.0 (RFC 1945): the answer ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: lakemill\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(Some(BufReader::new(stream)))
}

/// Reads the head of an answer; returns its status.
fn head(reader: &mut impl BufRead) -> std::io::Result<u16> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let wrong = || std::io::Error::new(ErrorKind::InvalidData, format!("no answer in HTTP: {first:?}"));
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(status);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_socket_of_a_killed_process_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = socket_of(folder.path(), 7);
        drop(UnixListener::bind(&socket).expect("binds"));
        assert!(ask(folder.path(), "GET", "/", None).expect("nobody is there").is_empty());
        assert!(!socket.exists());
    }

    /// A path that leads to itself: an error for root, too, unlike a socket of another user.
    #[test]
    fn a_socket_that_cannot_be_reached_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = socket_of(folder.path(), 7);
        symlink(&socket, &socket).expect("a link");
        ask(folder.path(), "GET", "/", None).expect_err("too many levels of links");
        assert!(socket.is_symlink());
    }

    #[test]
    fn a_live_socket_answers_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = socket_of(folder.path(), 7);
        let listener = UnixListener::bind(&socket).expect("binds");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a question");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n{}").expect("answers");
        });
        let answers = ask(folder.path(), "GET", "/", None).expect("it answers");
        server.join().expect("ends");
        assert_eq!((answers.len(), answers[0].process, answers[0].status), (1, 7, 200));
        assert!(socket.exists());
    }
}
