// The gateway's work, by hand, on Node.js and `ws`.
'use strict';

const http = require('node:http');
const { WebSocketServer } = require('ws');
const { admin, opened, message, closed } = require('./work');

const server = http.createServer(admin);
const sockets = new WebSocketServer({ server, path: '/ws', perMessageDeflate: false, maxPayload: 1 << 20 });
sockets.on('connection', (socket, request) => {
  const connection = opened(socket, request);
  socket.on('message', (data) => message(connection, data));
  socket.on('error', () => {});
  socket.on('close', () => closed(connection));
});
server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 });
