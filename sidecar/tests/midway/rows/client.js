// node client.js URL: the test of Midway's page, with its test client.
const { once } = require('node:events');
const { createWebSocketClient } = require('@midwayjs/mock');

(async () => {
  const client = await createWebSocketClient(process.argv[2]);
  const gotEvent = once(client, 'message');
  client.send(1);
  const [data] = await gotEvent;
  console.log(data.toString());
  await client.close();
})();
