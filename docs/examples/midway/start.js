// node start.js PORT
const path = require('node:path');
const { Bootstrap } = require('@midwayjs/bootstrap');

const koa = { port: Number(process.argv[2]), hostname: '127.0.0.1' };
Bootstrap.configure({
  appDir: __dirname,
  baseDir: path.join(__dirname, 'dist'),
  globalConfig: { keys: 'signs cookies, of which there are none', koa },
}).run();
