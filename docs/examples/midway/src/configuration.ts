import { Configuration } from '@midwayjs/core';
import * as koa from '@midwayjs/koa';

@Configuration({ imports: [koa] })
export class MainConfiguration {}
