import { Body, ContentType, Controller, Get, Inject, Post, Query } from '@midwayjs/core';

@Controller('/ws')
export class WsController {
  @Inject()
  ctx;

  @Post('/message')
  @ContentType('application/vnd.olares.ws+json')
  async event(@Body() event) {
    if (event.action === 'message') {
      return { reply: { name: 'harry', result: parseInt(event.data) + 5 } };
    }
    return {};
  }

  @Get('/auth')
  async auth(@Query('token') token: string) {
    if (token !== 'valid-token') {
      this.ctx.status = 403;
    }
    return '';
  }
}
