// What a server written for this comparison does besides holding sockets, which is the gateway's
// work: callbacks in order per connection over kept connections, the admin API, a heartbeat.
'use strict';

const http = require('node:http');
const { randomUUID } = require('node:crypto');

const APP_PORT = Number(process.env.APP_PORT);
const PING_TIMEOUT = 45_000;
const TEXT = { binary: false };

const agent = new http.Agent({ keepAlive: true, maxSockets: 64, scheduling: 'fifo' });
const connections = new Map();

function opened(socket, request) {
  const token = /(?:^|;\s*)auth_token=([^;]*)/.exec(request.headers.cookie || '')?.[1];
  const connection = {
    socket,
    id: randomUUID(),
    user: request.headers['x-bfl-user'] || '',
    token: token || randomUUID(),
    public: token === undefined,
    userAgent: request.headers['user-agent'],
    cookie: request.headers.cookie,
    lastSeen: Date.now(),
    queue: [],
    busy: false,
  };
  connections.set(connection.id, connection);
  push(connection, 'open', {});
  return connection;
}

function message(connection, data) {
  connection.lastSeen = Date.now();
  const parsed = JSON.parse(data.toString());
  if (parsed.event === 'ping') {
    connection.socket.send('{"event":"pong"}', TEXT);
  } else {
    push(connection, 'message', parsed);
  }
}

function closed(connection) {
  connections.delete(connection.id);
  push(connection, 'close', {});
}

function push(connection, action, data) {
  connection.queue.push({ action, data });
  if (!connection.busy) next(connection);
}

function next(connection) {
  const event = connection.queue.shift();
  connection.busy = event !== undefined;
  if (event === undefined) return;
  const body = JSON.stringify({
    data: event.data,
    action: event.action,
    user_name: connection.user,
    conn_id: connection.id,
    token: connection.token,
    access_public: connection.public,
  });
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
  if (connection.cookie) headers.Cookie = connection.cookie;
  const request = http.request({ agent, host: '127.0.0.1', port: APP_PORT, path: '/ws/message', method: 'POST', headers });
  request.on('response', (response) => {
    response.resume();
    response.on('end', () => next(connection));
  });
  request.on('error', () => next(connection));
  request.end(body);
}

function send(body) {
  const frame = Buffer.from(JSON.stringify(body.payload));
  const chosen = body.conn_id ? [connections.get(body.conn_id)] : connections.values();
  let queued = 0;
  for (const connection of chosen) {
    if (connection && connection.socket.readyState === 1) {
      connection.socket.send(frame, TEXT);
      queued += 1;
    }
  }
  return { matched: queued, queued, dropped: 0 };
}

function admin(request, response) {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    const data = request.url === '/tapr/ws/conn/send' ? send(body) : undefined;
    const answer = JSON.stringify(data ? { code: 0, message: 'success', data } : { code: 404, message: 'not found' });
    response.writeHead(data ? 200 : 404, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(answer) });
    response.end(answer);
  });
}

setInterval(() => {
  const before = Date.now() - PING_TIMEOUT;
  for (const connection of connections.values()) {
    if (connection.lastSeen < before) connection.socket.close(4408, 'ping timeout');
  }
}, 1000);

module.exports = { admin, opened, message, closed };
