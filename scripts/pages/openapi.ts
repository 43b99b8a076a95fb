// docs/openapi.json: the public methods as Connect + JSON, in OpenAPI 3.1, from the contract and the return codes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DescMessage, type DescMethod, type DescService, type FileRegistry, getOption } from "@bufbuild/protobuf";
import { type Access, access, ObjectRule } from "../../packages/api/src/gen/fujie/options/v1/options_pb.js";
import { portsFrom, type ServiceName } from "../../packages/cli/src/up/layout.ts";
import { type CanonicalCode, type Reason, reasons } from "../../packages/kit/src/errors/index.ts";
import { httpStatus } from "../../packages/kit/src/errors/return-codes.ts";
import { root } from "../testing/programs.ts";
import { commentOf, publicServices, readContract } from "./openapi/contract.ts";
import { byCode, reasonsOf } from "./openapi/errors.ts";
import type { Json, Schema } from "./openapi/rules.ts";
import { schemaRef, schemasFor } from "./openapi/schemas.ts";

/** Which service serves a package. */
const serviceOf: Readonly<Record<string, ServiceName>> = {
  "fujie.auth.v1": "auth",
  "fujie.registry.v1": "registry",
  "fujie.trust.v1": "trust-gateway",
  "fujie.audit.v1": "audit",
};

/** The only scopes that applications' own tokens carry; people and operators hold the others (docs/design.md, Scopes). */
const applicationScopes = new Set(["trust.verify", "application.read", "registry.registrations.write"]);

const errorDetails = [
  "ErrorInfo",
  "BadRequest",
  "RetryInfo",
  "QuotaFailure",
  "PreconditionFailure",
  "LocalizedMessage",
].map((name) => `google.rpc.${name}`);

export async function renderOpenapi(): Promise<string> {
  return `${printJson(describeApi(await readContract()))}\n`;
}

const LINE_WIDTH = 120;

/** JSON with whatever fits on one line, so that people can read it and its changes. */
function printJson(value: Json, indent = ""): string {
  const line = JSON.stringify(value);
  if (typeof value !== "object" || value === null || indent.length + line.length <= LINE_WIDTH) return line;
  const deeper = `${indent} `;
  const parts = Array.isArray(value)
    ? value.map((each) => printJson(each, deeper))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${printJson(each, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return [open, parts.map((part) => deeper + part).join(",\n"), indent + close].join("\n");
}

export function describeApi(contract: FileRegistry): Schema {
  const services = publicServices(contract);
  // A stream has no form in plain JSON: it is served by gRPC, gRPC-Web and Connect's own framing.
  const methods = services.flatMap((each) => each.methods.filter(({ methodKind }) => methodKind === "unary"));
  const details = errorDetails.map((typeName) => messageOf(contract, typeName));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  return {
    openapi: "3.1.1",
    info: {
      title: "Fujie 符节",
      version,
      summary: "The unified real-name identity platform: its public methods by HTTP and JSON.",
      description: introduction,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [serverOf("auth")],
    tags: services.map(({ service }) => ({ name: service.typeName, description: commentOf(service) })),
    paths: Object.fromEntries(
      methods.map((method) => [pathOf(method), { servers: [serverFor(method.parent)], post: operation(method) }]),
    ),
    components: {
      schemas: {
        ...schemasFor(
          methods.map(({ input }) => input),
          [...methods.map(({ output }) => output), ...details],
        ),
        ...errorSchemas,
      },
      parameters,
      headers,
      securitySchemes: { oauth2: securityScheme(methods) },
    },
  };
}

const introduction = [
  "Generated from `proto/`, whose comments are the reference; do not edit. The same methods are served by gRPC (docs/platform-teams.md).",
  "A method is a POST of JSON in protobuf's JSON mapping: 64-bit integers are strings, bytes are base64, times are RFC 3339, enums are names. A request with an unknown field is refused. In answers, a field that holds its default (0, false, an empty text or list, the first enum value) is left out.",
  "A refusal has the HTTP status of its canonical code and says the reason in `details` (`google.rpc.ErrorInfo`, domain `fujie`). Decide by the reason; docs/return-codes.md tells what each one means and what to do.",
  "`x-data-class` says how private a field is: nothing but PUBLIC fields is ever written to a log of the platform.",
].join("\n\n");

function messageOf(contract: FileRegistry, typeName: string): DescMessage {
  const desc = contract.getMessage(typeName);
  if (desc === undefined) throw new Error(`the contract has no ${typeName}`);
  return desc;
}

const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;

function serverFor(service: DescService): Schema {
  const name = serviceOf[service.file.proto.package];
  if (name === undefined) throw new Error(`${service.typeName}: no service is known to serve it`);
  return serverOf(name);
}

function serverOf(name: ServiceName): Schema {
  const origin = `http://127.0.0.1:${portsFrom(7_000).services[name].http}`;
  const description = `Origin of ${name}; the default is the platform on your own machine.`;
  return { url: "{origin}", description: name, variables: { origin: { default: origin, description } } };
}

function operation(method: DescMethod): Schema {
  if (method.methodKind !== "unary") throw new Error(`${pathOf(method)} is a stream: it has no JSON form here`);
  const rule = getOption(method, access);
  return {
    operationId: `${method.parent.name}_${method.name}`,
    tags: [method.parent.typeName],
    summary: method.name,
    description: [commentOf(method), describeAccess(rule)].join("\n\n"),
    security: securityOf(rule),
    parameters: Object.keys(parameters).map((name) => ({ $ref: `#/components/parameters/${name}` })),
    requestBody: { required: true, content: json(schemaRef(method.input.typeName)) },
    responses: {
      "200": {
        description: commentOf(method.output),
        headers: headerRefs("x-trace-id"),
        content: json(schemaRef(method.output.typeName)),
      },
      ...refusals(reasonsOf(method)),
    },
  };
}

function securityOf({ object, scopes }: Access): Schema[] {
  if (object === ObjectRule.PUBLIC) return [];
  return scopes.length === 0 ? [{ oauth2: [] }] : scopes.map((scope) => ({ oauth2: [scope] }));
}

const objectRules: Readonly<Record<ObjectRule, string>> = {
  [ObjectRule.UNSPECIFIED]: "nobody",
  [ObjectRule.PUBLIC]: "anybody, without a token",
  [ObjectRule.PEER]: "services of the platform",
  [ObjectRule.CALLER]: "any caller, as whom the token names",
  [ObjectRule.SELF]: "the account that the request names",
  [ObjectRule.ORGANISATION]: "whoever acts for the organisation that the request names",
  [ObjectRule.APPLICATION]: "the application that the request names",
  [ObjectRule.OWNER]: "the owner of what the request names",
  [ObjectRule.ANY]: "operators; every call is recorded",
};

function describeAccess({ object, scopes, minLevel, freshSeconds, defaultTimeoutMs, privileged }: Access): string {
  return [
    `**Who:** ${objectRules[object]}.`,
    scopes.length === 0 ? "" : `**Scope:** ${scopes.map((scope) => `\`${scope}\``).join(" or ")}.`,
    minLevel === 0 ? "" : `**Level:** at least ${minLevel}.`,
    freshSeconds === 0 ? "" : `**Signed in** at most ${freshSeconds} s ago.`,
    privileged ? "Refused while the service cannot tell whether the token was revoked." : "",
    `**Deadline** unless the caller sets one: ${(defaultTimeoutMs || 10_000) / 1_000} s.`,
  ]
    .filter((line) => line !== "")
    .join("\n");
}

/** One response for each HTTP status; canonical codes that share one stand together. */
function refusals(all: readonly Reason[]): Schema {
  const byStatus = Map.groupBy(byCode(all), ([code]) => httpStatus[code]);
  return Object.fromEntries([...byStatus].map(([status, codes]) => [String(status), refusal(codes)]));
}

function refusal(codes: readonly (readonly [CanonicalCode, readonly Reason[]])[]): Schema {
  const named = codes.flatMap(([, ofCode]) => ofCode);
  const retryable = named.some((reason) => reasons[reason].retryable);
  return {
    description: codes.map(([code, ofCode]) => `${code}: ${ofCode.join(", ")}.`).join("\n"),
    headers: headerRefs("x-trace-id", ...(retryable ? ["Retry-After"] : [])),
    content: json({
      allOf: [
        schemaRef("ConnectError"),
        {
          properties: {
            code: { enum: codes.map(([code]) => connectCode(code)) },
            details: {
              contains: {
                properties: {
                  type: { const: "google.rpc.ErrorInfo" },
                  debug: { properties: { reason: { $ref: "#/components/schemas/Reason", enum: named } } },
                },
              },
            },
          },
        },
      ],
    }),
  };
}

/** Connect's own spelling, one word differently from gRPC. */
function connectCode(code: CanonicalCode): string {
  return code === "CANCELLED" ? "canceled" : code.toLowerCase();
}

const errorSchemas: Record<string, Schema> = {
  ConnectError: {
    type: "object",
    description: "A refusal, as the Connect protocol has it.",
    required: ["code", "details"],
    properties: {
      code: {
        type: "string",
        description: "The canonical code.",
        enum: Object.keys(httpStatus)
          .map((code) => connectCode(code as CanonicalCode))
          .toSorted(),
      },
      message: { type: "string", description: "The reason's meaning in English. For people; never decide by it." },
      details: {
        type: "array",
        description:
          "Always a google.rpc.ErrorInfo and LocalizedMessages in Chinese and English; BadRequest names fields, RetryInfo and QuotaFailure say when to come again, PreconditionFailure what has to be done first.",
        items: schemaRef("ConnectErrorDetail"),
      },
    },
  },
  Reason: {
    type: "string",
    description: [
      "Why a call was refused. A reason is never renamed; new ones may come.",
      "",
      ...Object.entries(reasons).map(([reason, { en, zh }]) => `- \`${reason}\`: ${en} ${zh}`),
    ].join("\n"),
    examples: ["TOKEN_EXPIRED"],
  },
  ConnectErrorDetail: {
    type: "object",
    required: ["type", "value"],
    properties: {
      type: { type: "string", description: "Full name of the detail's message.", enum: errorDetails },
      value: {
        type: "string",
        contentEncoding: "base64",
        description: "The message in protobuf's binary form, base64 without padding.",
      },
      debug: { type: "object", description: "The same message as JSON; always sent by this platform." },
    },
    oneOf: errorDetails.map((typeName) => ({
      properties: { type: { const: typeName }, debug: schemaRef(typeName) },
    })),
  },
};

const parameters: Record<string, Schema> = {
  timeout: {
    name: "Connect-Timeout-Ms",
    in: "header",
    description: "The caller's deadline in milliseconds, 1 to 300000. Absent: the method's own.",
    schema: { type: "integer", minimum: 1, maximum: 300_000 },
  },
  traceparent: {
    name: "traceparent",
    in: "header",
    description: "W3C trace context, so that your trace and ours can be found from each other.",
    schema: { type: "string", pattern: "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$" },
  },
};

const headers: Record<string, Schema> = {
  "x-trace-id": {
    description: "Names this call in the platform's logs and records; say it when you report a fault.",
    schema: { type: "string", pattern: "^[0-9a-f]{32}$" },
  },
  "Retry-After": {
    description:
      "Whole seconds to wait before the same call, where the platform knows; otherwise back off with jitter.",
    schema: { type: "integer", minimum: 0 },
  },
};

function headerRefs(...names: readonly string[]): Schema {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

function json(schema: Schema): Schema {
  return { "application/json": { schema } };
}

function securityScheme(methods: readonly DescMethod[]): Schema {
  const scopes = [...new Set(methods.flatMap((method) => getOption(method, access).scopes))].toSorted();
  const describe = (some: readonly string[]): Schema =>
    Object.fromEntries(
      some.map((scope) => {
        const opened = methods.filter((method) => getOption(method, access).scopes.includes(scope));
        return [scope, opened.map(({ parent, name }) => `${parent.name}/${name}`).join(", ")];
      }),
    );
  const issuer = `http://127.0.0.1:${portsFrom(7_000).services.auth.http}`;
  const tokenUrl = `${issuer}/token`;
  return {
    type: "oauth2",
    description:
      "Access tokens of auth, at most five minutes long. A production issuer tells its addresses under /.well-known/openid-configuration. Applications use client credentials; people and operators sign in (authorization code with PKCE).",
    flows: {
      clientCredentials: { tokenUrl, scopes: describe(scopes.filter((scope) => applicationScopes.has(scope))) },
      authorizationCode: {
        authorizationUrl: `${issuer}/authorize`,
        tokenUrl,
        refreshUrl: tokenUrl,
        scopes: describe(scopes.filter((scope) => !applicationScopes.has(scope))),
      },
    },
  };
}
