// node start.js PORT [HEARTBEAT-IN-MILLISECONDS [PORT-OF-THE-WEBSOCKET]]
const path = require('node:path');
const { Bootstrap } = require('@midwayjs/bootstrap');

const [port, interval, own] = process.argv.slice(2).map(Number);
const webSocket = interval ? { enableServerHeartbeatCheck: true, serverHeartbeatInterval: interval } : {};
if (own) webSocket.port = own;
Bootstrap.configure({
  appDir: __dirname,
  baseDir: path.join(__dirname, 'dist'),
  globalConfig: { keys: 'signs cookies, of which there are none', koa: { port, hostname: '127.0.0.1' }, webSocket },
}).run();
