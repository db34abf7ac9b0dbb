//! Reverse proxies in the pod: a real nginx, and one as small as can be.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{eventually, free_port, http};

/// A proxy as small as can be: one request, its Host and some headers replaced.
pub async fn relay(to: SocketAddr, host: &str, more: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let extra = format!("Host: {host}\r\n{more}");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let head = http::read_head(&mut client, &mut Vec::new()).await.unwrap();
            let (first, _) = head.unwrap();
            let mut upstream = TcpStream::connect(to).await.unwrap();
            let request = format!("{first}\r\n{extra}Connection: close\r\n\r\n");
            upstream.write_all(request.as_bytes()).await.unwrap();
            tokio::io::copy(&mut upstream, &mut client).await.unwrap();
        }
    });
    address
}

pub struct Nginx {
    pub address: SocketAddr,
    _child: tokio::process::Child,
    _directory: tempfile::TempDir,
}

impl Nginx {
    pub async fn start(upstream: SocketAddr, headers: &str) -> Self {
        Self::serving(|address| {
            format!(
                "server {{ listen {address};
                   location / {{ proxy_pass http://{upstream}; {headers} }} }}"
            )
        })
        .await
    }

    /// With this inside of `http`, for a server that listens here.
    pub async fn serving(http: impl FnOnce(SocketAddr) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let at = directory.path().display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = kinds
            .map(|kind| format!("{kind}_temp_path {at}/{kind};"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{}}
             http {{ access_log off; {temporary} {} }}",
            http(address)
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = tokio::process::Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(directory.path());
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx, of nginx-light (`make test` installs it)");
        eventually("nginx", async || TcpStream::connect(address).await.ok()).await;
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }
}
