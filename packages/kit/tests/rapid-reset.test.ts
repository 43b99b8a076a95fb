import { strict as assert } from "node:assert";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ProbeService } from "./gen/fujie/testing/v1/testing_pb.js";
import { until } from "./kit-database.ts";
import { startProbe } from "./probe-server.ts";

const RESETS = 10_000;
const AT_ONCE = 200;
const GROWTH_BYTES_MAX = 8 * 2 ** 20;

// RFC 9113 §6: types of frames, flags and codes.
const [HEADERS, RST_STREAM, SETTINGS] = [1, 3, 4];
const END_HEADERS = 4;
const CANCEL = 8;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The headers of a call by RFC 7541: what the static table has by its number, the rest as literals that are not kept. */
function callHeaders(path: string): Buffer {
  const literal = (text: string) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
  return Buffer.concat([
    ...[Buffer.of(0x83, 0x86, 0x04), literal(path), Buffer.of(0x01), literal("a")],
    ...[Buffer.of(0x0f, 0x10), literal("application/grpc"), Buffer.of(0), literal("te"), literal("trailers")],
  ]);
}

/** Opens streams and resets each at once, by bare bytes, until there were as many or the connection is cut. */
async function attack(port: number, streams: number): Promise<{ opened: number; cut: boolean }> {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  socket.resume();
  socket.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, Buffer.alloc(0))]),
  );
  const headers = callHeaders("/fujie.testing.v1.ProbeService/Wait");
  const code = Buffer.of(0, 0, 0, CANCEL);
  let opened = 0;
  while (opened < streams && !socket.closed && socket.writable) {
    const some = Array.from({ length: AT_ONCE }, (_, i) => 2 * (opened + i) + 1);
    const sent = some.flatMap((id) => [frame(HEADERS, END_HEADERS, id, headers), frame(RST_STREAM, 0, id, code)]);
    opened += some.length;
    await new Promise((resolve) => socket.write(Buffer.concat(sent), resolve));
  }
  const cut = await Promise.race([once(socket, "close").then(() => true), settled().then(() => false)]);
  socket.destroy();
  return { opened, cut: cut || socket.closed };
}

/** The server has read what was sent. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 200));

test("rapid reset: ten thousand streams that are opened and reset at once stop nobody else, and nothing of them stays", async (t) => {
  await using probe = await startProbe();
  const baseUrl = `http://127.0.0.1:${probe.server.grpcPort}`;
  const other = createClient(ProbeService, createGrpcTransport({ baseUrl }));
  assert.equal((await other.echo({ number: 1 })).number, 1);
  const before = held();
  let opened = 0;
  let connections = 0;
  let cuts = 0;
  while (opened < RESETS) {
    const attacking = attack(probe.server.grpcPort, RESETS - opened);
    assert.equal((await other.echo({ number: 2 })).number, 2, "others are answered meanwhile");
    const ended = await attacking;
    opened += ended.opened;
    connections += 1;
    if (ended.cut) cuts += 1;
  }
  t.diagnostic(`${opened} streams on ${connections} connections, ${cuts} cut, ${probe.handled} calls handled`);
  assert.ok(cuts > 0, "Node cuts a connection that resets too much");
  assert.equal((await other.echo({ number: 3 })).number, 3);
  assert.equal(probe.handled, connections + 2, "no handler ran for a stream that was reset");
  await until(() => held() - before < GROWTH_BYTES_MAX, "what the streams held is free again");
});

/** What this process, client and server, holds after a collection, in bytes. */
function held(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
