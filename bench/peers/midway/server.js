// The gateway's work as a controller of Midway: its decorators, called as functions.
'use strict';

const http = require('node:http');
const core = require('@midwayjs/core');
const midwayWs = require('@midwayjs/ws');
const { Bootstrap } = require('@midwayjs/bootstrap');
const { admin, opened, message, closed } = require('./work');

class Sockets {
  async message(data) {
    message(this.ctx.connection, data);
  }

  async opened(socket, request) {
    socket.connection = opened(socket, request);
  }

  async closed() {
    closed(this.ctx.connection);
  }
}

function decorate(decorator, name) {
  decorator(Sockets.prototype, name, Object.getOwnPropertyDescriptor(Sockets.prototype, name));
}
core.Inject()(Sockets.prototype, 'ctx');
// In this order, as the framework listens for messages in it.
decorate(core.OnWSMessage('message'), 'message');
decorate(core.OnWSDisConnection(), 'closed');
decorate(core.OnWSConnection(), 'opened');
core.WSController('/ws')(Sockets);

class Main {}
core.Configuration({
  imports: [midwayWs],
  importConfigs: [
    {
      default: {
        keys: 'bench',
        midwayLogger: { default: { level: 'error', enableFile: false, enableError: false } },
        webSocket: { port: Number(process.env.PORT), perMessageDeflate: false, maxPayload: 1 << 20 },
      },
    },
  ],
})(Main);

Bootstrap.configure({ imports: [Main, Sockets], moduleDetector: false, logger: false })
  .run()
  // The framework has its HTTP server for itself.
  .then(() => http.createServer(admin).listen({ port: Number(process.env.ADMIN_PORT), host: '127.0.0.1' }))
  .catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  });
