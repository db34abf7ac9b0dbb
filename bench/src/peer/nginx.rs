//! nginx: with nchan as a server of WebSockets, by itself as a reverse proxy.

use crate::process::{Server, free_port};
use crate::target::{Dialect, Target};

pub(super) const PROGRAM: &str = "/usr/sbin/nginx";
pub(super) const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Everyone subscribes to one channel; nothing is kept for those who come later.
pub(super) fn start_nchan(server: &mut Server) -> anyhow::Result<Target> {
    let port = free_port()?;
    let locations = format!(
        "listen 127.0.0.1:{port} backlog=4096;
        location /ws {{ nchan_subscriber websocket; nchan_channel_id all; nchan_websocket_ping_interval 30; }}
        location /pub {{ nchan_publisher http; nchan_channel_id all; nchan_message_buffer_length 1; nchan_message_timeout 1s; }}"
    );
    start(
        server,
        &format!("load_module {NCHAN};"),
        "nchan_max_reserved_memory 256M;",
        &locations,
    )?;
    Ok(Target::local(port, "/ws", port, Dialect::Nchan))
}

/// As the documentation has it for kept connections to an upstream.
pub(super) fn start_proxy(server: &mut Server, app: u16) -> anyhow::Result<Target> {
    let port = free_port()?;
    let upstream = format!("upstream app {{ server 127.0.0.1:{app}; keepalive 64; }}");
    let locations = format!(
        "listen 127.0.0.1:{port};
        location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header Host $host; proxy_buffering off; proxy_request_buffering off; }}"
    );
    start(server, "", &upstream, &locations)?;
    Ok(Target::local(port, "/", port, Dialect::Web))
}

fn start(server: &mut Server, main: &str, http: &str, locations: &str) -> anyhow::Result<()> {
    let dir = server.dir.path().display().to_string();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    // One process does the work, without a master that would only wait for it.
    let config = format!(
        "{main}
daemon off; master_process off; worker_rlimit_nofile 20000;
pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 19900; multi_accept on; }}
http {{
    access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 1h;
    {temporary}{http}
    server {{
        {locations}
    }}
}}
"
    );
    let file = server.file("nginx.conf", &config)?.display().to_string();
    server.spawn(PROGRAM, &["-p", &dir, "-e", "error.log", "-c", &file], &[])
}
