//! Connections that end at a moment, however slowly the other side sends, and soon after a request to stop.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;

/// The longest time for which a call does not look whether it is to stop.
const SLICE: Duration = Duration::from_millis(200);

/// The moment at which all that a connection does has to be done. Clones share it.
#[derive(Debug, Clone)]
pub struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    /// Makes a deadline after this time.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + time)))
    }

    /// Moves the deadline.
    pub fn set_after(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    /// Returns the time that is left.
    ///
    /// # Errors
    /// If none is.
    pub fn left(&self) -> io::Result<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A connection with a deadline.
pub struct TimedStream {
    stream: TcpStream,
    deadline: Deadline,
    cancel: Cancel,
}

impl TimedStream {
    /// Connects.
    ///
    /// # Errors
    /// Those of the network, and that the time is over.
    pub fn connect(to: SocketAddr, deadline: Deadline, cancel: Cancel) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, deadline.left()?)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, deadline, cancel })
    }

    /// Does a step again and again until it is done, the time is over or the work is to stop.
    fn in_slices<T>(&mut self, mut step: impl FnMut(&mut TcpStream, Duration) -> io::Result<T>) -> io::Result<T> {
        loop {
            let left = self.deadline.left()?;
            match step(&mut self.stream, left.min(SLICE)) {
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.cancel.is_cancelled() {
                        return Err(io::Error::other("this process stops"));
                    }
                }
                done => return done,
            }
        }
    }
}

impl fmt::Debug for TimedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl Read for TimedStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.in_slices(|stream, slice| {
            stream.set_read_timeout(Some(slice))?;
            stream.read(bytes)
        })
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_slices(|stream, slice| {
            stream.set_write_timeout(Some(slice))?;
            stream.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Returns the addresses of a host, as the system finds them, within the time that is left.
///
/// # Errors
/// If there are none, or none in time.
pub fn addresses(host: &str, port: u16, deadline: &Deadline) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let host = host.to_owned();
    // The system's resolver knows no time limit; a thread that is late ends by itself.
    thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(|found| found.take(8).collect::<Vec<_>>());
        let _ = sender.send(found);
    })?;
    let found = receiver.recv_timeout(deadline.left()?).map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_silent_or_slow_server_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let deadline = Deadline::after(Duration::from_millis(300));
        let mut stream = TimedStream::connect(at, deadline.clone(), Cancel::default()).unwrap();
        let begun = Instant::now();
        let mut bytes = vec![0; 1 << 20];
        assert_eq!(stream.read_exact(&mut bytes).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_request_to_stop_ends_a_call_that_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cancel = Cancel::default();
        let deadline = Deadline::after(Duration::from_secs(600));
        let mut stream = TimedStream::connect(listener.local_addr().unwrap(), deadline, cancel.clone()).unwrap();
        cancel.cancel();
        assert!(stream.read(&mut [0]).unwrap_err().to_string().contains("stops"));
    }

    #[test]
    fn addresses_are_found_in_time() {
        let found = addresses("127.0.0.1", 7, &Deadline::after(Duration::from_secs(60))).unwrap();
        assert_eq!(found, ["127.0.0.1:7".parse().unwrap()]);
        assert!(addresses("127.0.0.1", 7, &Deadline::after(Duration::ZERO)).is_err());
    }
}
