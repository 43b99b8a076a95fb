import type { DescMessage, DescService, Message, MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";

/** What a handler may answer: a message, or the fields to make one of. */
export type Reply = MessageInitShape<DescMessage>;

/** One method's function, whatever its types: single messages or streams on either side. */
export type Implementation =
  | { readonly answers: "once"; run(request: Message, call: HandlerContext): Promise<Reply> | Reply }
  | { readonly answers: "many"; run(request: Message, call: HandlerContext): AsyncIterable<Reply> }
  | { readonly answers: "once-to-many"; run(requests: AsyncIterable<Message>, call: HandlerContext): Promise<Reply> }
  | {
      readonly answers: "many-to-many";
      run(requests: AsyncIterable<Message>, call: HandlerContext): AsyncIterable<Reply>;
    };

/** A service with the functions that serve it. */
export interface Handler {
  readonly service: DescService;
  /** The function of one method by its local name. Throws when there is none. */
  implementationOf(localName: string): Implementation;
}

const answersByKind = {
  unary: "once",
  server_streaming: "many",
  client_streaming: "once-to-many",
  bidi_streaming: "many-to-many",
} as const;

/** Ties a service to its implementation. The compiler refuses a forgotten method. */
export function handler<Service extends DescService>(service: Service, implementation: ServiceImpl<Service>): Handler {
  return {
    service,
    implementationOf(localName) {
      const kind = service.method[localName]?.methodKind;
      const run = memberOf(implementation, localName);
      if (kind === undefined || typeof run !== "function") {
        throw new Error(`${service.typeName} has no implementation of ${localName}`);
      }
      return { answers: answersByKind[kind], run: run.bind(implementation) };
    },
  };
}

/** Untyped on purpose: `handler` has checked the types of each method, and the pipeline treats all of them alike. */
function memberOf(implementation: object, localName: string) {
  return Reflect.get(implementation, localName);
}
