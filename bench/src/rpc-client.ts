/**
 * A raw HTTP/2 client for what h2load cannot do, client certificates: node rpc-client.ts <url> <path> <body file>
 * <calls> [cert file] [key file] [ca file]. Keeps 64 calls in flight on one connection and ends when all are answered OK.
 */
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [url = "", path = "", bodyFile = "", calls = "0", cert, key, ca] = process.argv.slice(2);
const body = readFileSync(bodyFile);
const session = http2.connect(
  url,
  cert === undefined || key === undefined || ca === undefined
    ? {}
    : { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) },
);
let left = Number(calls);

async function callUntilDone(): Promise<void> {
  while (left > 0) {
    left -= 1;
    await new Promise<void>((resolve, reject) => {
      const stream = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
      });
      stream.once("trailers", (trailers) => {
        if (trailers["grpc-status"] !== "0") reject(new Error(`status ${trailers["grpc-status"]}`));
      });
      stream.once("error", reject);
      stream.once("close", resolve);
      stream.end(body);
      stream.resume();
    });
  }
}

await Promise.all(Array.from({ length: 64 }, callUntilDone));
session.close();
