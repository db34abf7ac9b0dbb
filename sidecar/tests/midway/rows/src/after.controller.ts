// The right column: the same by callbacks.
import { Body, ContentType, Controller, Get, Inject, Post, Query } from '@midwayjs/core';
import { Context } from '@midwayjs/koa';

const ACTS = 'application/vnd.olares.ws+json';
const heard = new Map<string, number>();
let gateway: string;

async function ask(call: string, body?: object) {
  const how = body && { method: 'POST', body: JSON.stringify(body) };
  const answer = await fetch(`http://localhost:${gateway}/tapr/ws/conn/${call}`, how);
  return (await answer.json()).data;
}

@Controller('/ws')
export class AfterController {
  @Inject()
  ctx: Context;

  @Post('/message')
  @ContentType(ACTS)
  async event(@Body() event) {
    const { action, conn_id, data } = event;
    if (action === 'open') {
      const name = event.request.query.split('name=')[1];
      return name ? { reply: { hi: name } } : {};
    }
    if (action === 'close') {
      heard.delete(conn_id);
      return { broadcast: { payload: { left: event.code } } };
    }
    switch (data) {
      case 1:
        return { reply: { name: 'harry', result: parseInt(data) + 5 } };
      case 'text':
        return { reply: 'plain text', encoding: 'text' };
      case 'bytes':
        return { reply: Buffer.from([0, 255]).toString('base64'), encoding: 'base64' };
      case 'me':
        await ask('send', { conn_id, payload: 'to you', encoding: 'text' });
        return {};
      case 'count':
        heard.set(conn_id, (heard.get(conn_id) ?? 0) + 1);
        return { reply: { heard: heard.get(conn_id) } };
      case 'all':
        await ask('send', { all: true, payload: 'something', encoding: 'text' });
        return {};
      case 'size':
        return { reply: { size: (await ask('list')).reduce((sum, user) => sum + user.conns_number, 0) } };
      case 'bye':
        await ask('close', { conn_id, code: 4001, reason: 'bye' });
        return {};
      case 'shout':
        return { broadcast: { payload: { shout: true } } };
      case 'slow':
        await new Promise((done) => setTimeout(done, 500));
        return { reply: 'slow', encoding: 'text' };
      case 'quick':
        return { reply: 'quick', encoding: 'text' };
    }
    if (data.event === 'ping') return { reply: { got: 'ping' } };
    return {};
  }

  /** What koa overwrites as soon as an object is returned. */
  @Post('/set')
  async set() {
    this.ctx.set('Content-Type', ACTS);
    return { reply: 'never' };
  }

  @Post('/type')
  async type() {
    this.ctx.type = ACTS;
    return { reply: 'never' };
  }

  @Get('/auth')
  async auth(@Query('token') token: string) {
    if (token === 'wrong') this.ctx.status = 403;
    return '';
  }

  /** The body of `onWebSocketUpgrade` as it stands. */
  @Get('/asis')
  async asis(@Query('token') token: string) {
    return token !== 'wrong';
  }

  @Get('/heard')
  async heard() {
    return { heard: heard.size };
  }

  /** Where the gateway is, which begins after the app. */
  @Post('/gateway')
  async gateway(@Query('port') port: string) {
    gateway = port;
    return '';
  }
}

@Controller('/')
export class PageController {
  @Get('/page')
  async page() {
    return 'a page of the app';
  }
}
