import { App, Configuration } from '@midwayjs/core';
import * as koa from '@midwayjs/koa';
import * as ws from '@midwayjs/ws';

@Configuration({ imports: [koa, ws] })
export class MainConfiguration {
  @App('webSocket')
  sockets: ws.Application;

  async onReady() {
    this.sockets.onWebSocketUpgrade(async (request) => !request.url.includes('token=wrong'));
  }
}
