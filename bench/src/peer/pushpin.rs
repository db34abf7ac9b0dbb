//! Pushpin, speaking WebSocket-over-HTTP to the app.

use crate::process::{Server, free_port};
use crate::target::{Dialect, Target};

pub(super) fn start(server: &mut Server, app: u16) -> anyhow::Result<Target> {
    let (clients, publish) = (free_port()?, free_port()?);
    let (push, sub, command) = (free_port()?, free_port()?, free_port()?);
    let dir = server.dir.path().display().to_string();
    server.file("routes", &format!("* 127.0.0.1:{app},over_http,trusted\n"))?;
    let config = format!(
        "[global]
include=/usr/lib/pushpin/internal.conf
rundir={dir}
ipc_prefix=bench-
port_offset=0
stats_connection_ttl=120

[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{clients}
logdir={dir}
log_level=2
client_buffer_size=8192
client_maxconn=15000

[proxy]
routesfile={dir}/routes
debug=false
auto_cross_origin=false
accept_x_forwarded_protocol=false
x_forwarded_for=
sig_iss=pushpin
sig_key=changeme
updates_check=off
zurl_out_specs=ipc://{dir}/bench-zurl-in
zurl_out_stream_specs=ipc://{dir}/bench-zurl-in-stream
zurl_in_specs=ipc://{dir}/bench-zurl-out

[handler]
push_in_spec=tcp://127.0.0.1:{push}
push_in_sub_specs=tcp://127.0.0.1:{sub}
push_in_sub_connect=false
push_in_http_addr=127.0.0.1
push_in_http_port={publish}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
stats_spec=ipc://{dir}/bench-stats
command_spec=tcp://127.0.0.1:{command}
message_rate=1000000
message_hwm=1000000
"
    );
    let file = server.file("pushpin.conf", &config)?.display().to_string();
    server.spawn("/usr/bin/pushpin", &["--config", &file], &[])?;
    Ok(Target::local(clients, "/ws", publish, Dialect::Pushpin))
}
