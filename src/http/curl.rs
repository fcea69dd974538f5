//! The HTTP client on curl: trust, proxies, time-outs and limits.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use curl::easy::{Easy2, Handler, List, WriteError};
use url::Url;

use super::budget::{Budget, Limit};
use super::error::ProxyFault;
use super::proxy::{Chosen, DIRECTIVE, Proxy};
use super::{HttpClient, HttpError, Method, Request, Response};
use crate::cancel::Cancel;
use crate::log::report;
use crate::model::{Route, Status, outside};

/// Error codes of curl about a proxy, for which the curl crate has no names.
const CURLE_PROXY: curl_sys::CURLcode = 97;

/// Status of an answer by which a proxy asks for user and password, or refuses them.
const WANTS_LOGIN: u32 = 407;

/// Longest time for a request through a socket: its server may be silent for as long as it works.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(600);

/// Settings of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurlSettings {
    /// `User-Agent` of all requests.
    pub user_agent: String,
    /// Certificates to trust in addition to the system's directory of CAs (`MDCACertificateFile`).
    pub ca_file: Option<PathBuf>,
    /// The proxy (`MDHttpProxy`).
    pub proxy: Proxy,
    /// Certificates to trust at an https proxy (`MDHttpProxyCACertificateFile`).
    pub proxy_ca_file: Option<PathBuf>,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time for a request and its answer.
    pub timeout: Duration,
    /// A transfer that stays below so many bytes per second for so long is ended.
    pub stall: (u32, Duration),
}

/// Sends requests with curl. Connections are kept open for the next request.
pub struct CurlClient {
    settings: CurlSettings,
    cancel: Cancel,
    idle: Mutex<Vec<Easy2<Answer>>>,
    /// Proxies that the log already names.
    told: Mutex<HashSet<String>>,
}

/// The parts of an answer received so far.
struct Answer {
    response: Response,
    /// Whether the headers are complete, so that what follows the body are trailers.
    has_headers: bool,
    budget: Budget,
    exceeded: Option<Limit>,
    cancel: Cancel,
}

impl Default for CurlSettings {
    fn default() -> Self {
        Self {
            user_agent: format!("mod_md/{}", crate::model::VERSION),
            ca_file: None,
            proxy: Proxy::default(),
            proxy_ca_file: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            stall: (10, Duration::from_secs(30)),
        }
    }
}

impl CurlSettings {
    /// Takes trust and proxies from a route.
    #[must_use]
    pub fn by(self, route: &Route) -> Self {
        Self {
            ca_file: route.ca_file.as_ref().map(Into::into),
            proxy: Proxy::configured(route.proxy.as_deref()),
            proxy_ca_file: route.proxy_ca_file.as_ref().map(Into::into),
            ..self
        }
    }
}

impl CurlClient {
    /// Makes a client whose requests end about a second after `cancel`.
    #[must_use]
    pub fn new(settings: CurlSettings, cancel: Cancel) -> Self {
        Self { settings, cancel, idle: Mutex::default(), told: Mutex::default() }
    }

    /// Returns the proxy of a request, and logs its first use.
    fn proxy(&self, url: &Url, request: &Request) -> Option<Chosen> {
        let chosen = self.settings.proxy.choose(url, |name| std::env::var(name).ok());
        let chosen = chosen.filter(|_| request.socket.is_none())?;
        let proxy = chosen.name();
        let source = chosen.source;
        let host = url.host_str().unwrap_or_default();
        let text = match chosen.source {
            DIRECTIVE => format!("go through the proxy {proxy}, as {DIRECTIVE} says"),
            _ => format!(
                "go through the proxy {proxy}, as {source} in the environment says; 'MDHttpProxy none', or its name in no_proxy, \
                 prevents that"
            ),
        };
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
            report!(MD0062, "requests to {host} {text}");
        }
        Some(chosen)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Easy2<Answer>>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn prepare(&self, easy: &mut Easy2<Answer>, request: &Request, proxy: Option<&Chosen>) -> Result<(), curl::Error> {
        easy.reset();
        *easy.get_mut() = Answer::new(request.limit, self.cancel.clone());
        easy.url(&request.url)?;
        match request.method {
            Method::Get => easy.get(true)?,
            Method::Head => easy.nobody(true)?,
            Method::Post => {
                easy.post(true)?;
                easy.post_fields_copy(&request.body)?;
            }
        }
        let mut headers = List::new();
        // Without this empty header, curl would wait a second for servers that do not know "100-continue".
        headers.append("Expect:")?;
        for (name, value) in &request.headers {
            headers.append(&format!("{name}: {value}"))?;
        }
        easy.http_headers(headers)?;
        self.configure(easy)?;
        // Empty values prevent curl from reading the environment.
        easy.proxy(proxy.map_or("", |proxy| &proxy.url))?;
        easy.noproxy("")?;
        if let Some(socket) = &request.socket {
            easy.unix_socket_path(Some(socket))?;
            easy.low_speed_time(Duration::ZERO)?;
            easy.timeout(SOCKET_TIMEOUT)?;
        }
        Ok(())
    }

    fn configure(&self, easy: &mut Easy2<Answer>) -> Result<(), curl::Error> {
        let settings = &self.settings;
        easy.useragent(&settings.user_agent)?;
        easy.follow_location(false)?;
        // Time-outs by signals would hit any thread of the server.
        easy.signal(false)?;
        easy.progress(true)?;
        easy.connect_timeout(settings.connect_timeout)?;
        easy.timeout(settings.timeout)?;
        easy.low_speed_limit(settings.stall.0)?;
        easy.low_speed_time(settings.stall.1)?;
        if let Some(path) = &settings.ca_file {
            easy.cainfo(path)?;
        }
        if let Some(path) = &settings.proxy_ca_file {
            easy.proxy_cainfo(&path.to_string_lossy())?;
        }
        leave_resolver_behind(easy);
        Ok(())
    }

    fn explain(
        &self,
        easy: &Easy2<Answer>,
        url: &Url,
        request: &Request,
        proxy: Option<&Chosen>,
        error: &curl::Error,
    ) -> HttpError {
        let host = url.host_str().unwrap_or_default().to_owned();
        let reason = outside::text(error.extra_description().unwrap_or_else(|| error.description()));
        let errno = easy.os_errno().ok().filter(|errno| *errno != 0 && error.is_couldnt_connect());
        let status = errno.map_or(Status::GENERAL, Status);
        if let Some(limit) = easy.get_ref().exceeded.filter(|_| !self.cancel.is_cancelled()) {
            return HttpError::TooLarge { host, limit };
        }
        match error {
            error if request.socket.is_some() && error.is_couldnt_connect() => HttpError::Socket {
                path: request.socket.clone().unwrap_or_default(),
                reason: easy.os_errno().map_or_else(|_| io::Error::other(reason), io::Error::from_raw_os_error),
            },
            _ if self.cancel.is_cancelled() => HttpError::Cancelled,
            error if error.is_ssl_cacert_badfile() => self.ca_file_error(host, reason),
            error if proxy.is_some_and(|proxy| is_of_proxy(proxy, easy, error)) => {
                let is_untrusted = error.is_peer_failed_verification() || error.is_ssl_cacert();
                let (proxy, source_name) = proxy.map_or_else(Default::default, |proxy| (proxy.name(), proxy.source));
                if easy.http_connectcode().is_ok_and(|answer| answer == WANTS_LOGIN) {
                    return refused_login(proxy, source_name);
                }
                let fault = is_untrusted.then_some(ProxyFault::Trust);
                HttpError::Proxy { proxy, source_name, reason, status, fault }
            }
            error if error.is_url_malformed() => HttpError::Url { url: url.to_string(), reason },
            error if error.is_couldnt_resolve_host() => HttpError::Resolve { host, reason },
            error if error.is_couldnt_connect() => HttpError::Connect { host, reason, status },
            error if error.is_operation_timedout() => HttpError::TimedOut { host, reason },
            error if error.is_peer_failed_verification() || error.is_ssl_cacert() => {
                HttpError::Certificate { host, reason }
            }
            error if error.is_ssl_connect_error() => HttpError::Tls { host, reason },
            _ => HttpError::Other { host, reason },
        }
    }

    fn ca_file_error(&self, host: String, reason: String) -> HttpError {
        let files = [&self.settings.ca_file, &self.settings.proxy_ca_file];
        let mut files = files.into_iter().flatten();
        match files.clone().find(|path| File::open(path).is_err()).or_else(|| files.next()) {
            None => HttpError::Certificate { host, reason },
            Some(path) => {
                let reason = File::open(path).err().map_or(reason, |error| error.to_string());
                HttpError::CaFile { path: path.clone(), reason }
            }
        }
    }
}

impl HttpClient for CurlClient {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        if self.cancel.is_cancelled() {
            return Err(HttpError::Cancelled);
        }
        let url = http_url(&request.url)?;
        let mut easy = self.idle().pop().unwrap_or_else(|| Easy2::new(Answer::new(0, self.cancel.clone())));
        let proxy = self.proxy(&url, request);
        let sent = self.prepare(&mut easy, request, proxy.as_ref()).and_then(|()| easy.perform());
        let sent = sent.map_err(|error| self.explain(&easy, &url, request, proxy.as_ref(), &error));
        // A connection that waits for the next request keeps nothing of this answer, even if it is not complete.
        let answer = std::mem::replace(easy.get_mut(), Answer::new(0, self.cancel.clone()));
        self.idle().push(easy);
        match (sent.map(|()| answer.response), proxy) {
            // A request that needs no tunnel gets the proxy's refusal as an answer.
            (Ok(answer), Some(proxy)) if u32::from(answer.status) == WANTS_LOGIN => {
                Err(refused_login(proxy.name(), proxy.source))
            }
            (response, _) => response,
        }
    }
}

impl Answer {
    fn new(limit: usize, cancel: Cancel) -> Self {
        Self { response: Response::default(), has_headers: false, budget: Budget::new(limit), exceeded: None, cancel }
    }

    fn read_header(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if line.starts_with("HTTP/") {
            // The last of several answers counts: a proxy, or status 100, may come first.
            self.response = Response { status: status_of(&line), ..Response::default() };
            self.has_headers = false;
        } else if let Some((name, value)) = line.split_once(':').filter(|_| !self.has_headers) {
            self.response.keep_header(name.trim(), value.trim());
        } else if line.trim().is_empty() {
            self.has_headers = true;
        }
    }
}

impl Handler for Answer {
    fn header(&mut self, line: &[u8]) -> bool {
        self.exceeded = self.budget.header(line.len()).err();
        if self.exceeded.is_none() {
            self.read_header(line);
        }
        self.exceeded.is_none()
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.exceeded = self.budget.body(data.len()).err();
        if self.exceeded.is_some() {
            return Ok(0);
        }
        self.response.body.extend_from_slice(data);
        Ok(data.len())
    }

    fn progress(&mut self, _: f64, _: f64, _: f64, _: f64) -> bool {
        !self.cancel.is_cancelled()
    }
}

/// Whether the proxy could not be reached or failed. Curl connects to the proxy if there is one, and before the proxy has
/// opened a tunnel there is no other certificate than the proxy's.
fn is_of_proxy(proxy: &Chosen, easy: &Easy2<Answer>, error: &curl::Error) -> bool {
    let tunnel = easy.http_connectcode().unwrap_or_default();
    let is_tls = error.is_peer_failed_verification() || error.is_ssl_cacert() || error.is_ssl_connect_error();
    error.is_couldnt_resolve_proxy()
        || error.is_couldnt_connect()
        || error.code() == CURLE_PROXY
        || error.is_recv_error() && tunnel >= 300
        // Curl has no error code that tells this from a connection that breaks later.
        || error.extra_description().is_some_and(|reason| reason.starts_with("Proxy CONNECT"))
        || is_tls && tunnel == 0 && proxy.url.starts_with("https:")
}

fn refused_login(proxy: String, source_name: &'static str) -> HttpError {
    let reason =
        format!("it answers {WANTS_LOGIN}, as user and password in the URL of {source_name} are missing or wrong");
    HttpError::Proxy { proxy, source_name, reason, status: Status::GENERAL, fault: Some(ProxyFault::Login) }
}

fn status_of(line: &str) -> u16 {
    line.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// Checks the URL: curl knows many more protocols than HTTP, and a CA chooses most of the URLs.
fn http_url(text: &str) -> Result<Url, HttpError> {
    let wrong = |reason: String| HttpError::Url { url: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(wrong("not http or https".to_owned())) }
}

/// Makes a cancel effective while a name is being resolved; without it, curl waits for the resolver.
#[allow(unsafe_code, reason = "the curl crate has no method for this option")]
fn leave_resolver_behind(easy: &Easy2<Answer>) {
    const QUICK_EXIT: curl_sys::CURLoption = curl_sys::CURLOPTTYPE_LONG + 322;
    let on: libc::c_long = 1;
    // SAFETY: curl_easy_setopt() wants a live handle, which `easy` owns and nobody else uses meanwhile, and for an option
    // of type LONG a long. Before 7.87 curl does not know the option and says so, which leaves things as they were.
    let _ = unsafe { curl_sys::curl_easy_setopt(easy.raw(), QUICK_EXIT, on) };
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::thread::{self, JoinHandle};

    use super::*;

    fn client() -> CurlClient {
        CurlClient::new(CurlSettings::default(), Cancel::default())
    }

    /// Serves one connection with `answer`, and returns what `answer` returns.
    fn serve<T: Send + 'static>(answer: impl FnOnce(TcpStream) -> T + Send + 'static) -> (String, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/path?query", listener.local_addr().unwrap());
        (url, thread::spawn(move || answer(listener.accept().unwrap().0)))
    }

    fn read_request(stream: &TcpStream) -> (Vec<String>, Vec<u8>) {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        (head, body)
    }

    fn respond(mut stream: &TcpStream, text: &str) -> (Vec<String>, Vec<u8>) {
        let request = read_request(stream);
        stream.write_all(text.as_bytes()).unwrap();
        request
    }

    #[test]
    fn answers_are_read_with_headers_and_body_over_one_connection() {
        let (url, server) = serve(|stream| {
            let first = respond(
                &stream,
                "HTTP/1.1 100 Continue\r\nX: old\r\n\r\nHTTP/1.1 201 Created\r\nLocation:  /a \r\nLink: <x>\r\nlink: <y>\r\n\
                 Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}",
            );
            let second = respond(&stream, "HTTP/1.1 200 OK\r\nReplay-Nonce: n\r\nContent-Length: 7\r\n\r\n");
            let third = respond(&stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            [first, second, third]
        });
        let client = client();
        let response = client.send(&Request::post(&url, "application/jose+json", "{\"a\":1}")).unwrap();
        assert_eq!((response.status, &response.body[..]), (201, &b"{}"[..]));
        assert_eq!(response.header("location"), Some("/a"));
        assert_eq!(response.headers_named("Link").count(), 2);
        assert_eq!(response.header("x"), None);
        let response = client.send(&Request::head(&url)).unwrap();
        assert_eq!((response.header("replay-nonce"), response.body.len()), (Some("n"), 0));
        assert_eq!(client.send(&Request::get(&url).header("Accept", "text/x")).unwrap().status, 404);
        let [(post, body), (head, _), (get, _)] = server.join().unwrap();
        assert_eq!((post[0].as_str(), &body[..]), ("POST /path?query HTTP/1.1", &b"{\"a\":1}"[..]));
        assert!(post.contains(&"Content-Type: application/jose+json".to_owned()), "{post:?}");
        assert!(post.contains(&format!("User-Agent: mod_md/{}", crate::model::VERSION)), "{post:?}");
        assert!(!post.iter().any(|line| line.starts_with("Expect")), "{post:?}");
        assert_eq!(head[0], "HEAD /path?query HTTP/1.1");
        assert_eq!(get[0], "GET /path?query HTTP/1.1");
        assert!(get.contains(&"Accept: text/x".to_owned()), "{get:?}");
    }

    #[test]
    fn redirects_are_not_followed() {
        let (url, server) = serve(|stream| {
            respond(&stream, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        });
        assert_eq!(client().send(&Request::get(url)).unwrap().status, 302);
        server.join().unwrap();
    }

    #[test]
    fn a_unix_domain_socket_is_asked_without_a_proxy_and_its_errors_are_the_systems() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let settings = CurlSettings { proxy: Proxy::At("http://127.0.0.1:1".to_owned()), ..CurlSettings::default() };
        let client = CurlClient::new(settings, Cancel::default());
        let request = Request::get("http://local.sock/a?b=c").through(&path);
        let kind = || match client.send(&request).unwrap_err() {
            HttpError::Socket { path: named, reason } if named == path => reason.kind(),
            other => panic!("{other}"),
        };
        assert_eq!(kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody").unwrap();
            String::from_utf8(head[..length].to_vec()).unwrap()
        });
        assert_eq!(client.send(&request).unwrap().body, b"body");
        let head = server.join().unwrap();
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\nHost: local.sock\r\n"), "{head}");
        // The listener is closed.
        assert_eq!(kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error() {
        let (url, server) = serve(|stream| respond(&stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"));
        let error = client().send(&Request::get(url)).unwrap_err();
        assert!(matches!(error, HttpError::Other { .. }), "{error}");
        assert_eq!(error.status(), Status::GENERAL);
        server.join().unwrap();
    }

    /// Sends `begin`, then `part` until the client has had enough, and returns the error.
    fn flooded(limit: usize, begin: &'static str, part: &[u8]) -> HttpError {
        let part = part.to_vec();
        let (url, server) = serve(move |stream| {
            respond(&stream, begin);
            while (&stream).write_all(&part).is_ok() {}
        });
        let client = client();
        let error = client.send(&Request { limit, ..Request::get(url) }).unwrap_err();
        server.join().unwrap();
        let idle = client.idle();
        let kept = &idle[0].get_ref().response;
        assert_eq!((kept.body.capacity(), kept.headers.capacity()), (0, 0), "{error}");
        error
    }

    #[test]
    fn an_answer_without_end_is_cut_at_its_budget_and_dropped() {
        const TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n";
        let line = [&b"Link: "[..], &[b'x'; 2000], b"\r\n"].concat();
        let chunk = [&b"1000\r\n"[..], &[b'x'; 0x1000], b"\r\n"].concat();
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let rows: [(usize, &'static str, &[u8], Limit); 9] = [
            (10_000, "HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], Limit::Bytes(10_000)),
            (10_000, chunked, &chunk, Limit::Bytes(10_000)),
            (1 << 20, "HTTP/1.1 200 OK\r\n", &line, Limit::HeaderBytes(1 << 16)),
            (1 << 20, "HTTP/1.1 200 OK\r\n", b"X: y\r\n", Limit::HeaderLines(100)),
            (1 << 16, "HTTP/1.1 200 OK\r\n", &line, Limit::HeaderBytes(1 << 16)),
            (1 << 20, "", b"HTTP/1.1 103 Early Hints\r\n\r\n", Limit::HeaderLines(100)),
            (1 << 20, TRAILERS, &line, Limit::HeaderBytes(1 << 16)),
            (1 << 20, TRAILERS, b"X: y\r\n", Limit::HeaderLines(100)),
            (1 << 15, TRAILERS, &line, Limit::Bytes(1 << 15)),
        ];
        for (limit, begin, part, expected) in rows {
            let error = flooded(limit, begin, part);
            assert!(matches!(error, HttpError::TooLarge { limit, .. } if limit == expected), "{begin:?}: {error}");
        }
    }

    #[test]
    fn the_headers_of_a_proxy_are_in_the_budget() {
        let (proxy, server) = serve(|stream| {
            respond(&stream, "HTTP/1.1 200 Connection established\r\n");
            while (&stream).write_all(b"X: y\r\n").is_ok() {}
        });
        let error = by_proxy(&proxy, "https://ca.invalid/");
        assert!(matches!(error, HttpError::TooLarge { limit: Limit::HeaderLines(100), .. }), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn an_answer_of_just_the_budget_is_fine_and_trailers_are_not_headers() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let (url, server) = serve(move |stream| respond(&stream, &format!("{head}body")));
        let request = Request { limit: head.len() + 4, ..Request::get(url) };
        assert_eq!(client().send(&request).unwrap().body, b"body");
        server.join().unwrap();
        let (url, server) = serve(|stream| {
            let text =
                "HTTP/1.1 200 OK\r\nLink: <a>\r\nAge: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nLink: <b>\r\n\r\n";
            respond(&stream, text)
        });
        let response = client().send(&Request::get(url)).unwrap();
        assert_eq!(response.headers, [("Link".to_owned(), "<a>".to_owned())]);
        server.join().unwrap();
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        for text in ["nonsense\r\n\r\n", "", "HTTP/1.1\r\n", "\0\0\0\0"] {
            let (url, server) = serve(move |stream| respond(&stream, text));
            let error = client().send(&Request::get(url)).unwrap_err();
            assert!(matches!(error, HttpError::Other { .. }), "{text:?}: {error}");
            server.join().unwrap();
        }
    }

    #[test]
    fn a_server_that_is_silent_times_out() {
        let (url, server) = serve(|mut stream| stream.read_to_end(&mut Vec::new()));
        let settings = CurlSettings { timeout: Duration::from_millis(200), ..CurlSettings::default() };
        let error = CurlClient::new(settings, Cancel::default()).send(&Request::get(url)).unwrap_err();
        assert!(matches!(error, HttpError::TimedOut { .. }), "{error}");
        assert_eq!(error.status(), Status::TIMED_OUT);
        server.join().unwrap().unwrap();
    }

    #[test]
    fn a_server_that_drips_is_stalled() {
        let (url, server) = serve(|stream| {
            respond(&stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while (&stream).write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(250));
            }
        });
        let settings = CurlSettings { stall: (10, Duration::from_secs(1)), ..CurlSettings::default() };
        let error = CurlClient::new(settings, Cancel::default()).send(&Request::get(url)).unwrap_err();
        assert!(matches!(error, HttpError::TimedOut { .. }), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn a_connection_that_is_reset_is_an_error() {
        for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
            // Closing a connection with unread data would reset it.
            let (url, server) = serve(move |mut stream| {
                stream.peek(&mut [0]).unwrap();
                stream.write_all(begun.as_bytes()).unwrap();
            });
            let error = client().send(&Request::get(url)).unwrap_err();
            assert!(matches!(error, HttpError::Other { .. }), "{error}");
            assert_eq!(error.status(), Status::GENERAL);
            server.join().unwrap();
        }
    }

    #[test]
    fn a_cancel_ends_a_transfer_and_all_later_ones() {
        let (started, wait) = mpsc::channel();
        let (url, server) = serve(move |mut stream| {
            respond(&stream, "HTTP/1.1 200 OK\r\n\r\nbegin");
            started.send(()).unwrap();
            stream.read_to_end(&mut Vec::new())
        });
        let cancel = Cancel::default();
        let client = CurlClient::new(CurlSettings::default(), cancel.clone());
        let request = Request::get(url);
        thread::scope(|scope| {
            let sending = scope.spawn(|| client.send(&request));
            wait.recv().unwrap();
            cancel.cancel();
            assert!(sending.join().unwrap().unwrap_err().is_cancelled());
        });
        assert!(client.send(&request).unwrap_err().is_cancelled());
        let _ = server.join().unwrap();
    }

    #[test]
    fn a_port_where_nobody_listens_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = client().send(&Request::get(format!("http://{address}/"))).unwrap_err();
        assert!(matches!(&error, HttpError::Connect { host, .. } if host == "127.0.0.1"), "{error}");
        assert_eq!(error.status(), Status::REFUSED);
    }

    #[test]
    fn only_http_urls_are_asked() {
        for url in ["", "/directory", "file:///etc/passwd", "ftp://ca.example/", "https://"] {
            let error = client().send(&Request::get(url)).unwrap_err();
            assert!(matches!(error, HttpError::Url { .. }), "{url}: {error}");
            assert_eq!(error.status(), Status::INVALID);
        }
    }

    #[test]
    fn requests_go_through_the_configured_proxy() {
        let (proxy, server) = serve(|stream| respond(&stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let settings = CurlSettings { proxy: Proxy::At(proxy), ..CurlSettings::default() };
        let client = CurlClient::new(settings, Cancel::default());
        assert_eq!(client.send(&Request::get("http://ca.invalid/dir")).unwrap().status, 200);
        assert_eq!(server.join().unwrap().0[0], "GET http://ca.invalid/dir HTTP/1.1");
    }

    #[test]
    fn a_proxy_that_refuses_user_and_password_says_so_with_and_without_a_tunnel() {
        for (login, url) in
            [("user:wrong@", "https://ca.invalid/"), ("user:wrong@", "http://ca.invalid/"), ("", "https://ca.invalid/")]
        {
            let (refusing, server) = serve(|stream| {
                respond(&stream, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            });
            let address = refusing.trim_end_matches("/path?query").trim_start_matches("http://");
            let error = by_proxy(&format!("http://{login}{address}"), url);
            let text = error.to_string();
            let says = "it answers 407, as user and password in the URL of MDHttpProxy are missing or wrong";
            assert_eq!(text, format!("the proxy {address} of MDHttpProxy cannot be used: {says}"));
            assert!(error.advice().is_some_and(|advice| advice.contains("user:password@host:port")), "{error:?}");
            assert_eq!((error.problem(), error.status().text()), ("transport-proxy", None));
            let _ = server.join().unwrap();
        }
    }

    /// A request to a CA through this proxy.
    fn by_proxy(proxy: &str, url: &str) -> HttpError {
        let settings = CurlSettings { proxy: Proxy::At(proxy.to_owned()), ..CurlSettings::default() };
        CurlClient::new(settings, Cancel::default()).send(&Request::get(url)).unwrap_err()
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = listener.local_addr().unwrap().port();
        drop(listener);
        let (refusing, server) =
            serve(|stream| respond(&stream, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
        let refusing = refusing.trim_end_matches("/path?query").trim_start_matches("http://").to_owned();
        let rows = [
            ("proxy.invalid:3128".to_owned(), "http://ca.invalid/", Status::GENERAL),
            (format!("127.0.0.1:{nobody}"), "https://ca.invalid/", Status::REFUSED),
            (refusing, "https://ca.invalid/", Status::GENERAL),
        ];
        for (address, url, status) in rows {
            let error = by_proxy(&format!("http://user:secret@{address}"), url);
            assert!(matches!(error, HttpError::Proxy { fault: None, .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("the proxy {address} of MDHttpProxy")), "{text}");
            assert!(!text.contains("secret"), "{text}");
            assert_eq!(error.status(), status);
        }
        assert!(server.join().unwrap().0[0].starts_with("CONNECT ca.invalid:443"));
    }

    #[test]
    fn a_proxy_that_breaks_off_or_speaks_no_tls_is_named() {
        let (proxy, server) = serve(|stream| drop(read_request(&stream)));
        let error = by_proxy(&proxy, "https://ca.invalid/");
        assert!(error.to_string().contains("MDHttpProxy"), "{error:?}");
        server.join().unwrap();
        let (proxy, server) = serve(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        let error = by_proxy(&proxy.replace("http:", "https:"), "https://ca.invalid/");
        assert!(matches!(error, HttpError::Proxy { fault: None, .. }), "{error:?}");
        server.join().unwrap().unwrap();
    }

    #[test]
    fn a_ca_file_that_is_missing_is_named() {
        let (url, server) = serve(|mut stream| stream.read_to_end(&mut Vec::new()));
        let settings = CurlSettings { ca_file: Some("/nonexistent/roots.pem".into()), ..CurlSettings::default() };
        let client = CurlClient::new(settings, Cancel::default());
        let error = client.send(&Request::get(url.replace("http:", "https:"))).unwrap_err();
        assert!(matches!(&error, HttpError::CaFile { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/roots.pem"), "{error}");
        drop(client);
        let _ = server.join().unwrap();
    }

    #[test]
    fn plain_text_instead_of_tls_is_a_tls_error() {
        let (url, server) = serve(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        let error = client().send(&Request::get(url.replace("http:", "https:"))).unwrap_err();
        assert!(matches!(error, HttpError::Tls { .. }), "{error}");
        assert_eq!(error.status(), Status::ABORTED);
        server.join().unwrap().unwrap();
    }
}
