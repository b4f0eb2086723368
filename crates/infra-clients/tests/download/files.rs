//! Files: what servers can do to a download.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use infra_clients::download::{Address, Kind, Limits};
use infra_clients::{Class, Failure};
use testbed::{FileReply, FileServer};

use crate::downloader;

const SMALL: Limits = Limits { time: Duration::from_mins(2), stall: Duration::from_mins(1), bytes: 1000 };

fn zipped(size: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b'a'; size]).unwrap();
    encoder.finish().unwrap()
}

fn at(server: &FileServer, path: &str) -> Address {
    format!("{}{path}", server.url()).parse().unwrap()
}

#[tokio::test]
async fn a_file_comes_as_the_server_has_it() {
    let server = FileServer::start(|request| match request.path.as_str() {
        "/plain" => FileReply::file("a: 1\n"),
        "/file.gz" => FileReply::file(zipped(100)),
        "/encoded" => FileReply::file(zipped(100)).header("content-encoding", "gzip"),
        "/largest" => FileReply::file(vec![b'a'; 1000]),
        _ => FileReply::not_found(),
    })
    .await
    .unwrap();
    let downloader = downloader(&[&server], SMALL);
    assert_eq!(downloader.get(&at(&server, "/plain")).await.unwrap(), b"a: 1\n");
    assert_eq!(downloader.get(&at(&server, "/file.gz")).await.unwrap(), zipped(100));
    assert_eq!(downloader.get(&at(&server, "/encoded")).await.unwrap(), vec![b'a'; 100]);
    assert_eq!(downloader.get(&at(&server, "/largest")).await.unwrap().len(), 1000);
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.header("user-agent") == Some("test/1")));
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn what_cannot_be_used_is_refused() {
    let server = FileServer::start(|request| match request.path.as_str() {
        "/large" => FileReply::file(vec![b'a'; 1001]),
        "/large-without-length" => FileReply::file(format!("7d0\r\n{}\r\n0\r\n\r\n", "a".repeat(2000)))
            .header("transfer-encoding", "chunked"),
        "/bomb" => FileReply::file(zipped(1001)).header("content-encoding", "gzip"),
        "/no-gzip" => FileReply::file("hello").header("content-encoding", "gzip"),
        "/brotli" => FileReply::file("hello").header("content-encoding", "br"),
        "/truncated" => FileReply::file(vec![b'a'; 500]).truncated(400),
        "/busy" => FileReply::new(503, ""),
        "/private" => FileReply::new(403, ""),
        _ => FileReply::not_found(),
    })
    .await
    .unwrap();
    let downloader = downloader(&[&server], SMALL);
    for (path, kind, class, message) in [
        ("/large", Kind::TooLarge, Class::NeedsHelp, "it is larger than 1000 bytes"),
        ("/large-without-length", Kind::TooLarge, Class::NeedsHelp, "it is larger than 1000 bytes"),
        ("/bomb", Kind::Corrupt, Class::NeedsHelp, "it is larger than 1000 bytes once decompressed"),
        ("/no-gzip", Kind::Corrupt, Class::NeedsHelp, "it is no whole gzip file"),
        ("/brotli", Kind::Corrupt, Class::NeedsHelp, "with the encoding \"br\""),
        ("/truncated", Kind::Unreachable, Class::Retry, "the connection was cut"),
        ("/busy", Kind::Unavailable, Class::Retry, "HTTP 503"),
        ("/private", Kind::Refused, Class::NeedsHelp, "HTTP 403"),
        ("/none?sig=secret", Kind::NotFound, Class::NeedsHelp, "HTTP 404"),
    ] {
        let error = downloader.get(&at(&server, path)).await.unwrap_err();
        assert_eq!((error.kind(), error.class()), (kind, class), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot download {}/", server.url())), "{text}");
        assert!(text.contains(message) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_slow_or_gone_is_given_up() {
    let server = FileServer::start(|request| match request.path.as_str() {
        "/stalls" => FileReply::file("hello").stalled(2),
        "/silent" => FileReply::file("").stalled(0).header("content-length", "5"),
        _ => FileReply::file(vec![b'a'; 900]).slow(Duration::from_millis(20)),
    })
    .await
    .unwrap();
    let impatient = Limits { stall: Duration::from_millis(300), ..SMALL };
    let hasty = Limits { time: Duration::from_millis(600), ..SMALL };
    for (path, limits, message) in [
        ("/stalls", impatient, "nothing comes within 300ms"),
        ("/silent", impatient, "nothing comes within 300ms"),
        ("/slow", hasty, "it takes longer than 600ms"),
    ] {
        let error = downloader(&[&server], limits).get(&at(&server, path)).await.unwrap_err();
        assert_eq!((error.kind(), error.class()), (Kind::Timeout, Class::Retry), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let address = at(&server, "/");
    let stranger = FileServer::start(|_| FileReply::file("")).await.unwrap();
    let error = downloader(&[&stranger], SMALL).get(&address).await.unwrap_err();
    assert_eq!((error.kind(), error.class()), (Kind::Tls, Class::NeedsHelp), "{error}");
    let trusting = downloader(&[&server], SMALL);
    drop(server);
    let error = trusting.get(&address).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
}

#[tokio::test]
async fn redirects_are_few_and_stay_encrypted() {
    static OTHER: OnceLock<String> = OnceLock::new();
    static PLAIN: OnceLock<String> = OnceLock::new();
    let other = FileServer::start(|_| FileReply::file("other")).await.unwrap();
    let plain = FileServer::plain(|request| match request.path.as_str() {
        "/up" => FileReply::redirect(&format!("{}/x", OTHER.get().unwrap())),
        _ => FileReply::file("plain"),
    })
    .await
    .unwrap();
    OTHER.set(other.url().to_owned()).unwrap();
    PLAIN.set(plain.url().to_owned()).unwrap();
    let server = FileServer::start(|request| match request.path.as_str() {
        "/one" => FileReply::redirect("/file"),
        "/other" => FileReply::redirect(&format!("{}/x?sig=1", OTHER.get().unwrap())),
        "/down" => FileReply::redirect(&format!("{}/file", PLAIN.get().unwrap())),
        "/nowhere" => FileReply::new(302, ""),
        "/file" => FileReply::file("here"),
        path => {
            let left: usize = path.trim_start_matches('/').parse().unwrap();
            FileReply::redirect(&if left == 0 { "/file".to_owned() } else { format!("/{}", left - 1) })
        }
    })
    .await
    .unwrap();
    let downloader = downloader(&[&server, &other], SMALL);
    for (path, file) in [("/one", "here"), ("/other", "other"), ("/4", "here")] {
        assert_eq!(downloader.get(&at(&server, path)).await.unwrap(), file.as_bytes(), "{path}");
    }
    for (path, message) in [
        ("/down", "a redirect leads from https to http://"),
        ("/nowhere", "a redirect leads nowhere"),
        ("/5", "there are more than 5 redirects"),
    ] {
        let error = downloader.get(&at(&server, path)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Redirect, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    // Who starts without encryption loses none.
    assert_eq!(downloader.get(&at(&plain, "/file")).await.unwrap(), b"plain");
    assert_eq!(downloader.get(&at(&plain, "/up")).await.unwrap(), b"other");
    assert!(plain.paths().iter().all(|path| path == "/file" || path == "/up"));
    assert_eq!(
        plain.paths().iter().filter(|path| *path == "/file").count(),
        1,
        "nothing followed the redirect"
    );
}
