//! Questions to the name servers of this machine: the answers that a CA will get, which does not know `/etc/hosts`.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, Question, RCODE, TYPE};

use crate::cancel::Cancel;
use crate::net::{Deadline, TimedStream};

/// The port of name servers.
const PORT: u16 = 53;
/// The file with the addresses of the name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The most name servers that are asked, as the system's resolver does (resolv.conf(5)).
const MOST_SERVERS: usize = 3;
/// Time for the answer of one server.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most records of an answer that are looked at.
const MOST_RECORDS: usize = 500;
/// Size of the largest answer over UDP. Longer ones come over TCP.
const LARGEST_DATAGRAM: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// No name server is configured.
    #[error("there is no name server in {RESOLV_CONF}")]
    NoServer,
    /// The name cannot be asked for.
    #[error("the name cannot be asked for in the DNS")]
    Name,
    /// The last server sent no answer.
    #[error("the name server {0} does not answer: {1}")]
    Io(SocketAddr, io::Error),
    /// The last server sent something else than an answer.
    #[error("the name server {0} sends no valid answer")]
    Invalid(SocketAddr),
    /// The last server has no answer.
    #[error("the name server {0} answers {1}")]
    Failed(SocketAddr, &'static str),
}

/// A record of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address: A or AAAA.
    Address(IpAddr),
    /// A text: TXT, with its strings joined.
    Text(String),
    /// A property of CAA (RFC 8659): whether it is critical, its tag in lower case, its value.
    Caa(bool, String, String),
}

/// The types of records that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the DNS")]
pub enum Kind {
    A,
    Aaaa,
    Txt,
    Caa,
}

/// The name servers that are asked, one after the other.
#[derive(Debug, Clone)]
pub struct NameServers(Vec<SocketAddr>);

impl NameServers {
    /// The name servers of this machine.
    #[must_use]
    pub fn of_system() -> Self {
        Self::parse(&std::fs::read(RESOLV_CONF).unwrap_or_default())
    }

    /// One name server.
    #[must_use]
    pub fn only(server: SocketAddr) -> Self {
        Self(vec![server])
    }

    fn parse(conf: &[u8]) -> Self {
        let found = resolv_conf::Config::parse(conf).map(|conf| conf.nameservers).unwrap_or_default();
        Self(found.iter().take(MOST_SERVERS).map(|server| SocketAddr::new(server.into(), PORT)).collect())
    }

    /// Returns the records of a name; none if the name or the type does not exist.
    ///
    /// # Errors
    /// If no server answers the question.
    pub fn ask(&self, name: &str, kind: Kind) -> Result<Vec<Data>, DnsError> {
        let mut last = Err(DnsError::NoServer);
        for server in &self.0 {
            last = ask(*server, name, kind);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

fn ask(server: SocketAddr, name: &str, kind: Kind) -> Result<Vec<Data>, DnsError> {
    let name = Name::new(name).map_err(|_| DnsError::Name)?;
    let kind = match kind {
        Kind::A => TYPE::A,
        Kind::Aaaa => TYPE::AAAA,
        Kind::Txt => TYPE::TXT,
        Kind::Caa => TYPE::CAA,
    };
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(|err| DnsError::Io(server, err.into()))?;
    let id = u16::from_be_bytes(id);
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(name.clone(), kind.into(), CLASS::IN.into(), false));
    let query = query.build_bytes_vec().map_err(|_| DnsError::Name)?;
    let failed = |err| DnsError::Io(server, err);
    let is_answer = |bytes: &[u8]| {
        Packet::parse(bytes).is_ok_and(|packet| {
            packet.id() == id && packet.has_flags(PacketFlag::RESPONSE) && packet.opcode() == OPCODE::StandardQuery
        })
    };
    let deadline = Deadline::after(PATIENCE);
    let mut bytes = over_udp(server, &query, &deadline, is_answer).map_err(failed)?;
    if simple_dns::header_buffer::has_flags(&bytes, PacketFlag::TRUNCATION).unwrap_or(false) {
        bytes = over_tcp(server, &query, deadline).map_err(failed)?;
    }
    let answer = records(&bytes).filter(|_| is_answer(&bytes)).ok_or(DnsError::Invalid(server))?;
    answer.map_err(|word| DnsError::Failed(server, word))
}

/// Reads an answer: its records, or the word for why there are none. `None` if it is no message of the DNS.
pub(crate) fn records(message: &[u8]) -> Option<Result<Vec<Data>, &'static str>> {
    let packet = Packet::parse(message).ok()?;
    Some(match packet.rcode() {
        RCODE::NoError | RCODE::NameError => {
            Ok(packet.answers.iter().take(MOST_RECORDS).filter_map(|record| data(&record.rdata)).collect())
        }
        RCODE::ServerFailure => Err("SERVFAIL, which also tells of wrong DNSSEC signatures"),
        RCODE::Refused => Err("REFUSED"),
        _ => Err("an error"),
    })
}

/// Reads datagrams until one is the answer: anybody can send others.
fn over_udp(
    server: SocketAddr,
    query: &[u8],
    deadline: &Deadline,
    is_answer: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let own: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(server)?;
    socket.send(query)?;
    let mut bytes = vec![0; LARGEST_DATAGRAM];
    loop {
        socket.set_read_timeout(Some(deadline.left()?))?;
        let length = socket.recv(&mut bytes)?;
        if is_answer(&bytes[..length]) {
            bytes.truncate(length);
            return Ok(bytes);
        }
    }
}

fn over_tcp(server: SocketAddr, query: &[u8], deadline: Deadline) -> io::Result<Vec<u8>> {
    let mut stream = TimedStream::connect(server, deadline, Cancel::default())?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn data(record: &RData<'_>) -> Option<Data> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match record {
        RData::A(a) => Some(Data::Address(Ipv4Addr::from_bits(a.address).into())),
        RData::AAAA(aaaa) => Some(Data::Address(Ipv6Addr::from_bits(aaaa.address).into())),
        RData::TXT(txt) => String::try_from(txt.clone()).ok().map(Data::Text),
        RData::CAA(caa) => {
            let tag = caa.tag.to_string().to_ascii_lowercase();
            Some(Data::Caa(caa.flag & 0x80 != 0, tag, text(&caa.value)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use simple_dns::rdata::{CAA, TXT};
    use simple_dns::{CharacterString, ResourceRecord};

    use super::*;

    /// Makes the answer to a query, with these records.
    fn answer(query: &[u8], flags: PacketFlag, rcode: RCODE, records: Vec<RData<'_>>) -> Vec<u8> {
        let mut packet = Packet::parse(query).unwrap().into_reply();
        packet.set_flags(PacketFlag::RESPONSE | flags);
        *packet.rcode_mut() = rcode;
        let name = Name::new_unchecked("a.test");
        packet.answers =
            records.into_iter().map(|data| ResourceRecord::new(name.clone(), CLASS::IN, 1, data)).collect();
        packet.build_bytes_vec().unwrap()
    }

    /// Answers one question over UDP with what `respond` makes of it.
    fn server(respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 512];
            let (length, from) = socket.recv_from(&mut bytes).unwrap();
            for answer in respond(&bytes[..length]) {
                socket.send_to(&answer, from).unwrap();
            }
        });
        at
    }

    #[test]
    fn records_are_read() {
        let long = "x".repeat(255);
        let at = server(move |query| {
            let text = TXT::new().with_string(&long).unwrap().with_string("tail").unwrap();
            let caa = CAA { flag: 128, tag: CharacterString::new(b"Issue").unwrap(), value: b"ca.test".into() };
            vec![answer(query, PacketFlag::empty(), RCODE::NoError, vec![RData::TXT(text), RData::CAA(caa)])]
        });
        let found = NameServers::only(at).ask("a.test", Kind::Txt).unwrap();
        let text = format!("{}tail", "x".repeat(255));
        assert_eq!(found, [Data::Text(text), Data::Caa(true, "issue".to_owned(), "ca.test".to_owned())]);
    }

    #[test]
    fn a_name_that_does_not_exist_has_no_records_and_a_failure_is_told() {
        for (rcode, expected) in
            [(RCODE::NameError, Ok(vec![])), (RCODE::ServerFailure, Err("SERVFAIL")), (RCODE::Refused, Err("REFUSED"))]
        {
            let at = server(move |query| vec![answer(query, PacketFlag::empty(), rcode, vec![])]);
            let found = NameServers::only(at).ask("a.test", Kind::A);
            match expected {
                Ok(records) => assert_eq!(found.unwrap(), records),
                Err(phrase) => assert!(found.unwrap_err().to_string().contains(phrase)),
            }
        }
    }

    #[test]
    fn answers_of_strangers_are_ignored() {
        let at = server(|query| {
            let mut other = answer(query, PacketFlag::empty(), RCODE::ServerFailure, vec![]);
            other[0] ^= 1;
            vec![b"rubbish".to_vec(), other, answer(query, PacketFlag::empty(), RCODE::NoError, vec![])]
        });
        assert_eq!(NameServers::only(at).ask("a.test", Kind::Aaaa).unwrap(), []);
    }

    #[test]
    fn a_long_answer_is_asked_for_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(at).unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 512];
            let (length, from) = socket.recv_from(&mut bytes).unwrap();
            let cut = answer(&bytes[..length], PacketFlag::TRUNCATION, RCODE::NoError, vec![]);
            socket.send_to(&cut, from).unwrap();
            let mut stream = listener.accept().unwrap().0;
            let mut query = vec![0; 2 + length];
            stream.read_exact(&mut query).unwrap();
            let address = RData::A(simple_dns::rdata::A { address: 0x7f00_0001 });
            let whole = answer(&query[2..], PacketFlag::empty(), RCODE::NoError, vec![address]);
            let length = u16::try_from(whole.len()).unwrap();
            stream.write_all(&[&length.to_be_bytes()[..], &whole].concat()).unwrap();
        });
        let found = NameServers::only(at).ask("a.test", Kind::A).unwrap();
        assert_eq!(found, [Data::Address("127.0.0.1".parse().unwrap())]);
    }

    #[test]
    fn name_servers_are_those_of_the_system() {
        let conf = b"# comment\nsearch a.test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let expected: Vec<SocketAddr> =
            ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"].iter().map(|at| at.parse().unwrap()).collect();
        assert_eq!(NameServers::parse(conf).0, expected);
        assert!(matches!(NameServers::parse(b"").ask("a.test", Kind::A), Err(DnsError::NoServer)));
        assert!(matches!(NameServers::only(expected[0]).ask(&"x".repeat(64), Kind::A), Err(DnsError::Name)));
    }
}
