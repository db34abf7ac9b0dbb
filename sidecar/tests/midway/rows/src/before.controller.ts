// The left column of README's table: what Midway's own WebSockets do.
import { App, Inject, OnWSConnection, OnWSDisConnection, OnWSMessage, WSBroadCast, WSController } from '@midwayjs/core';
import { Application, Context } from '@midwayjs/ws';

@WSController()
export class BeforeController {
  @Inject()
  ctx: Context & { heard?: number };

  @App('webSocket')
  app: Application;

  @OnWSConnection()
  async connected(_socket, request) {
    const name = request.url.split('name=')[1];
    return name && { hi: name };
  }

  @OnWSMessage('message')
  async message(data: Buffer) {
    switch (data.toString()) {
      case '1':
        return { name: 'harry', result: parseInt(data.toString()) + 5 };
      case 'text':
        return 'plain text';
      case 'bytes':
        return void this.ctx.send(Buffer.from([0, 255]));
      case 'me':
        return void this.ctx.send('to you');
      case 'count':
        this.ctx.heard = (this.ctx.heard ?? 0) + 1;
        return { heard: this.ctx.heard };
      case 'all':
        return void this.app.clients.forEach((ws) => ws.send('something'));
      case 'size':
        return { size: this.app.clients.size };
      case 'bye':
        return void this.ctx.close(4001, 'bye');
      case 'slow':
        await new Promise((done) => setTimeout(done, 500));
        return 'slow';
      case 'quick':
        return 'quick';
    }
    if (data.length > 1 << 20) return { length: data.length };
    if (data.toString().startsWith('{"event":"ping"')) return { got: 'ping' };
  }

  @OnWSMessage('message')
  @WSBroadCast()
  async shout(data: Buffer) {
    if (data.toString() === 'shout') return { shout: true };
  }

  @OnWSDisConnection()
  @WSBroadCast()
  async gone(id: number) {
    return { left: id };
  }
}
