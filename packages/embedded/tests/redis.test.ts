import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { testRedis } from "../src/testing.ts";

async function ask(port: number, command: string): Promise<string> {
  const socket: Socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(`${command}\r\n`);
  const [answer]: unknown[] = await once(socket, "data");
  socket.destroy();
  return String(answer).trim();
}

test("testRedis is a real server that keeps nothing on disk and is gone after disposal", async () => {
  const redis = await testRedis();
  assert.equal(await ask(redis.port, "PING"), "+PONG");
  assert.equal(await ask(redis.port, "SET greeting hello"), "+OK");
  assert.match(await ask(redis.port, "CONFIG GET save"), /save\r\n\$0/);
  await redis[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
  await assert.rejects(ask(redis.port, "PING"), { code: "ECONNREFUSED" });
});
