/**
 * Every reason for which Fujie refuses or fails, once. The pipeline turns an entry into the canonical code with
 * google.rpc.ErrorInfo{reason, domain: "fujie"} and LocalizedMessage; docs/return-codes.md is generated from it (SU-6.3).
 * A reason is an interface: it may be added, never renamed or given another code.
 */
export type CanonicalCode =
  | "CANCELLED"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "UNAUTHENTICATED";

export interface ReasonEntry {
  readonly code: CanonicalCode;
  /** Whether the same call may succeed later without anybody changing it. */
  readonly retryable: boolean;
  readonly en: string;
  readonly zh: string;
  /** What the caller should do. */
  readonly action: string;
}

export const reasons = {
  // Requests
  INTERNAL: {
    code: "INTERNAL",
    retryable: false,
    en: "An unexpected fault inside the platform.",
    zh: "平台内部出现意外错误。",
    action: "Report the trace id to the operator.",
  },
  FIELD_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "A field breaks its declared rule; the violation names it.",
    zh: "字段不符合规则，详情见字段说明。",
    action: "Correct the named field.",
  },
  REQUEST_MALFORMED: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The request cannot be parsed, or carries unknown fields in JSON.",
    zh: "请求无法解析。",
    action: "Send a message that matches the published schema.",
  },
  MESSAGE_TOO_LARGE: {
    code: "RESOURCE_EXHAUSTED",
    retryable: false,
    en: "The message exceeds the size limit of the method.",
    zh: "消息超过大小限制。",
    action: "Send a smaller message, or use the streaming method.",
  },
  DEADLINE_MALFORMED: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The deadline header is malformed, negative or longer than allowed.",
    zh: "超时时间格式错误或超出范围。",
    action: "Send a deadline between 1 ms and 5 minutes.",
  },
  DEADLINE_EXCEEDED: {
    code: "DEADLINE_EXCEEDED",
    retryable: true,
    en: "The deadline passed before the answer was ready. The work may have been done.",
    zh: "请求超时，操作可能已经完成。",
    action: "Repeat with the same request_id, or read the resource.",
  },
  CANCELLED: {
    code: "CANCELLED",
    retryable: false,
    en: "The caller cancelled the call.",
    zh: "调用方取消了请求。",
    action: "Nothing, or call again.",
  },
  METHOD_UNKNOWN: {
    code: "UNIMPLEMENTED",
    retryable: false,
    en: "The service has no such method.",
    zh: "方法不存在。",
    action: "Check the service and method name against the descriptor set.",
  },
  RATE_LIMITED: {
    code: "RESOURCE_EXHAUSTED",
    retryable: true,
    en: "The caller sends more than its limit.",
    zh: "请求过于频繁。",
    action: "Wait for the time in RetryInfo.",
  },
  OVERLOADED: {
    code: "RESOURCE_EXHAUSTED",
    retryable: true,
    en: "The service sheds load to stay responsive.",
    zh: "服务繁忙。",
    action: "Wait for the time in RetryInfo.",
  },
  DEPENDENCY_UNAVAILABLE: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "A service or database that the call needs does not answer.",
    zh: "依赖的服务暂时不可用。",
    action: "Try again with back-off.",
  },
  SCHEMA_NOT_READY: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "The database schema is older than this release needs.",
    zh: "数据库结构尚未就绪。",
    action: "Run the migration, then try again.",
  },
  MASK_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The update mask is empty, is a wildcard, or names an unknown, nested or immutable field.",
    zh: "更新掩码无效。",
    action: "Name only mutable top-level fields.",
  },
  PAGE_TOKEN_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The page token is not one that this list and filter gave.",
    zh: "分页令牌无效。",
    action: "Start again from the first page.",
  },
  PAGE_SIZE_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The page size is negative.",
    zh: "分页大小无效。",
    action: "Send zero or a positive page size.",
  },
  REQUEST_ID_REUSED: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The same request_id was used before with other contents.",
    zh: "请求编号已用于不同内容的请求。",
    action: "Use a fresh request_id for a new request.",
  },
  SECRET_ALREADY_SHOWN: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The first answer held a secret that is shown once and is not replayed.",
    zh: "密钥仅显示一次，不再重复返回。",
    action: "Issue a new one.",
  },
  ETAG_MISMATCH: {
    code: "ABORTED",
    retryable: true,
    en: "The resource changed since it was read.",
    zh: "资源已被修改。",
    action: "Read it again and repeat the change.",
  },
  FEED_TOPIC_UNKNOWN: {
    code: "NOT_FOUND",
    retryable: false,
    en: "The service offers no such feed topic.",
    zh: "数据推送主题不存在。",
    action: "Check the topic name.",
  },
  RESUME_TOKEN_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The resume token was not given by this feed.",
    zh: "续传令牌无效。",
    action: "Follow again from an empty token.",
  },
  RESUME_TOKEN_EXPIRED: {
    code: "OUT_OF_RANGE",
    retryable: false,
    en: "Events before the resume token are gone.",
    zh: "续传位置已过期。",
    action: "Follow again from an empty token.",
  },

  // Access
  TOKEN_MISSING: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The call carries no access token.",
    zh: "缺少访问令牌。",
    action: "Get a token from the OpenID provider.",
  },
  TOKEN_INVALID: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The access token is malformed, wrongly signed, of the wrong type, or for another audience.",
    zh: "访问令牌无效。",
    action: "Get a fresh token for this audience.",
  },
  TOKEN_EXPIRED: {
    code: "UNAUTHENTICATED",
    retryable: true,
    en: "The access token has expired.",
    zh: "访问令牌已过期。",
    action: "Refresh the token.",
  },
  TOKEN_REVOKED: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The session, subject or client behind the token was ended.",
    zh: "访问令牌已被撤销。",
    action: "Sign in again.",
  },
  REVOCATIONS_STALE: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "The service cannot tell whether the token was revoked, and the method is privileged.",
    zh: "撤销状态未更新，特权操作被暂停。",
    action: "Try again shortly.",
  },
  SCOPE_MISSING: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The token lacks the scope that the method requires.",
    zh: "权限范围不足。",
    action: "Ask the operator for the scope.",
  },
  OBJECT_FORBIDDEN: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The object does not exist or does not belong to the caller.",
    zh: "无权访问该对象。",
    action: "Check the id and the organisation that the token acts for.",
  },
  PEER_FORBIDDEN: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The method is for other services of the platform.",
    zh: "该方法仅限平台内部服务调用。",
    action: "Use a public method.",
  },
  PEER_CERTIFICATE_INVALID: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The client certificate is missing, expired or not issued by the platform's authority.",
    zh: "客户端证书无效。",
    action: "Present a certificate of the platform's authority.",
  },
  LEVEL_TOO_LOW: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The account's level is below what the method requires.",
    zh: "实名等级不足。",
    action: "Complete the real-name verification first.",
  },
  STEP_UP_REQUIRED: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The method needs a fresh authentication.",
    zh: "需要重新认证。",
    action: "Sign in again, then repeat the call.",
  },
  ROLE_FORBIDDEN: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The caller's role in the organisation does not allow this.",
    zh: "当前角色无权执行此操作。",
    action: "Ask the legal representative or an administrator.",
  },
  FOUR_EYES_REQUIRED: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The same person may not both enter and decide.",
    zh: "不得由同一人录入并审批。",
    action: "Have another authorised person decide.",
  },

  // Identifiers and names
  CITIZEN_ID_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The citizen id breaks GB 11643: length, characters, birth date or check character.",
    zh: "公民身份号码无效。",
    action: "Correct the number.",
  },
  USCC_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The unified social credit code breaks GB 32100.",
    zh: "统一社会信用代码无效。",
    action: "Correct the code.",
  },
  NAME_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The name is empty, too long, or holds characters that no name may hold.",
    zh: "姓名或名称无效。",
    action: "Correct the name.",
  },
  LOGIN_NAME_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The login name breaks its rules, or looks like an identifier.",
    zh: "用户名无效。",
    action: "Choose 4 to 32 letters, digits, dots, dashes or underscores, starting with a letter.",
  },
  LOGIN_NAME_TAKEN: {
    code: "ALREADY_EXISTS",
    retryable: false,
    en: "The login name is in use.",
    zh: "用户名已被使用。",
    action: "Choose another login name.",
  },
  PHONE_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The phone number is not a mobile number of the numbering plan.",
    zh: "手机号无效。",
    action: "Correct the number.",
  },
  BANK_CARD_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The card number fails its length or Luhn check.",
    zh: "银行卡号无效。",
    action: "Correct the number.",
  },

  // Accounts and registration
  AGREEMENT_NOT_ACCEPTED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The current service agreement was not accepted.",
    zh: "未接受服务协议。",
    action: "Show the agreement and send its version and digest.",
  },
  AGREEMENT_VERSION_UNKNOWN: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The accepted agreement is not one in force.",
    zh: "服务协议版本无效。",
    action: "Read the agreement in force and accept that one.",
  },
  NOTICE_NOT_ACKNOWLEDGED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The privacy notice was not acknowledged.",
    zh: "未确认个人信息处理告知。",
    action: "Show the notice and send its version.",
  },
  GUARDIAN_REQUIRED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The person is under 14: the guardian applies.",
    zh: "未满十四周岁须由监护人申请。",
    action: "Let the guardian apply at the counter.",
  },
  REGISTRATION_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such registration, or it has expired.",
    zh: "登记不存在或已过期。",
    action: "Register again.",
  },
  REGISTRATION_STATE_INVALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The registration is not in a state that allows this.",
    zh: "登记状态不允许此操作。",
    action: "Read the registration and follow its state.",
  },
  REGISTRATION_REJECTED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The claims could not be verified.",
    zh: "身份信息核验未通过。",
    action: "Check the data against the document.",
  },
  IDENTITY_NOT_VERIFIED: {
    code: "FAILED_PRECONDITION",
    retryable: true,
    en: "The trusted source has not confirmed the identity yet.",
    zh: "身份信息尚未核验完成。",
    action: "Wait until the registration is verified.",
  },
  IDENTIFIER_ALREADY_REGISTERED: {
    code: "ALREADY_EXISTS",
    retryable: false,
    en: "The identifier already has a real-name account. Told only to callers that proved control of it.",
    zh: "该证件号码已有实名账户。",
    action: "Recover the existing account.",
  },
  ACCOUNT_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such account.",
    zh: "账户不存在。",
    action: "Check the id.",
  },
  ACCOUNT_STATE_INVALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The account is not in a state that allows this.",
    zh: "账户状态不允许此操作。",
    action: "Read the account and follow its state.",
  },
  ACCOUNT_PENDING: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The account is not real-name yet.",
    zh: "账户尚未实名。",
    action: "Complete verification at the counter.",
  },
  ACCOUNT_CANCELLED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The account was cancelled.",
    zh: "账户已注销。",
    action: "Register again as a new user.",
  },
  CONFIRMATION_REQUIRED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The step cannot be undone and was not confirmed.",
    zh: "操作不可撤销，需要确认。",
    action: "Repeat with the confirmation set.",
  },
  IDENTIFIER_IMMUTABLE: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The unique identifier cannot be changed.",
    zh: "唯一标识不可变更。",
    action: "Leave it out of the update.",
  },
  ENROLMENT_INVALID: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The enrolment code is wrong, used, or expired.",
    zh: "凭据绑定码无效或已过期。",
    action: "Ask for a new enrolment code.",
  },
  DOCUMENT_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such archived document.",
    zh: "档案材料不存在。",
    action: "Archive the document first.",
  },
  DOCUMENT_MISSING: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "A decision needs an archived document as evidence.",
    zh: "缺少存档证据材料。",
    action: "Archive the captured document first.",
  },
  DOCUMENT_DIGEST_MISMATCH: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The document's bytes do not match the digest that was stated.",
    zh: "材料摘要不一致。",
    action: "Send the document again.",
  },
  DOCUMENT_TYPE_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The document's media type is not one that may be archived.",
    zh: "材料类型不受支持。",
    action: "Send JPEG, PNG or PDF.",
  },
  DECISION_SIGNATURE_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The decision's signature does not verify under the operator's certificate.",
    zh: "审批签名无效。",
    action: "Sign the decision again.",
  },
  SELF_APPROVAL_FORBIDDEN: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "An operator may not decide on himself or on his own entry.",
    zh: "不得审批本人或本人录入的事项。",
    action: "Have another operator decide.",
  },
  CHALLENGE_INVALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The challenge is unknown, used, expired, or bound to another session or purpose.",
    zh: "挑战码无效或已使用。",
    action: "Get a new challenge.",
  },

  // Organisations and delegation
  ORGANISATION_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such organisation.",
    zh: "组织不存在。",
    action: "Check the id.",
  },
  LEGAL_REPRESENTATIVE_MISMATCH: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The caller is not the legal representative on record.",
    zh: "当前用户不是登记的法定代表人。",
    action: "Let the legal representative act.",
  },
  DELEGATION_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such delegation.",
    zh: "授权不存在。",
    action: "Check the id.",
  },
  DELEGATION_EXPIRED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The delegation has expired or was revoked.",
    zh: "授权已过期或撤销。",
    action: "Ask for a new delegation.",
  },
  DELEGATION_EXISTS: {
    code: "ALREADY_EXISTS",
    retryable: false,
    en: "The person already has a role in the organisation.",
    zh: "该人员已有角色。",
    action: "Revoke the old role first.",
  },
  DELEGATE_NOT_REAL_NAME: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "Only a real-name person may be given a role.",
    zh: "被授权人尚未实名。",
    action: "Let the person complete verification first.",
  },

  // Applications, operators, consent
  APPLICATION_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such application.",
    zh: "应用不存在。",
    action: "Check the id.",
  },
  APPLICATION_SUSPENDED: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The application is suspended.",
    zh: "应用已暂停。",
    action: "Contact the operator.",
  },
  PURPOSE_NOT_REGISTERED: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The application is not registered for this purpose.",
    zh: "应用未登记该用途。",
    action: "Register the purpose first.",
  },
  OPERATOR_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such operator.",
    zh: "操作员不存在。",
    action: "Check the id.",
  },
  OPERATOR_RIGHTS_LAPSED: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The operator's rights were not reviewed in time.",
    zh: "操作员权限未按期复核，已失效。",
    action: "Have the rights reviewed.",
  },
  CEREMONY_CLOSED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The first administrators are bound already, or the ceremony code has expired.",
    zh: "首任管理员绑定已完成或已过期。",
    action: "Use the administrators that are bound.",
  },
  CEREMONY_CODE_INVALID: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The ceremony code is wrong.",
    zh: "绑定口令错误。",
    action: "Read the code from the registry's data folder.",
  },
  PROPOSAL_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such proposal.",
    zh: "提案不存在。",
    action: "Check the id.",
  },
  PROPOSAL_STATE_INVALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The proposal was decided already or has expired.",
    zh: "提案状态不允许此操作。",
    action: "Propose again.",
  },
  CONSENT_REQUIRED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "Neither a consent grant nor a registered legal basis covers the request.",
    zh: "缺少用户同意或法定依据。",
    action: "Ask the person for consent.",
  },
  CONSENT_INVALID: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The grant is malformed, expired, withdrawn, or for another application, purpose, person or set of elements.",
    zh: "授权凭证无效或与请求不符。",
    action: "Ask for a grant for exactly this request.",
  },
  CONSENT_USED: {
    code: "PERMISSION_DENIED",
    retryable: false,
    en: "The grant was used already.",
    zh: "授权凭证已使用。",
    action: "Ask for a new grant.",
  },
  POLICY_STALE: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "The gateway's policy is older than allowed; it fails closed.",
    zh: "策略数据已过期，暂停服务。",
    action: "Try again shortly.",
  },

  // Sign-in
  CREDENTIALS_INVALID: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The login name, password or proof is wrong. The answer is the same whichever it was.",
    zh: "用户名或凭据错误。",
    action: "Check the credentials.",
  },
  SIGN_IN_THROTTLED: {
    code: "RESOURCE_EXHAUSTED",
    retryable: true,
    en: "Too many failed attempts.",
    zh: "尝试次数过多。",
    action: "Wait for the time in RetryInfo.",
  },
  PASSWORD_TOO_WEAK: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The password is too short, too long or among the commonly used ones.",
    zh: "密码强度不足。",
    action: "Choose a longer password.",
  },
  SESSION_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such session.",
    zh: "会话不存在。",
    action: "Sign in again.",
  },

  // Certificates
  CERTIFICATE_MALFORMED: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The certificate is not strict DER, or repeats an extension.",
    zh: "证书格式错误。",
    action: "Send the certificate as the CA issued it.",
  },
  CERTIFICATE_UNTRUSTED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate does not chain to a configured authority.",
    zh: "证书不受信任。",
    action: "Use a certificate of a connected CA.",
  },
  CERTIFICATE_EXPIRED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate has expired.",
    zh: "证书已过期。",
    action: "Renew the certificate.",
  },
  CERTIFICATE_NOT_YET_VALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate is not valid yet.",
    zh: "证书尚未生效。",
    action: "Wait, or check the clock.",
  },
  CERTIFICATE_REVOKED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate was revoked.",
    zh: "证书已吊销。",
    action: "Use a valid certificate.",
  },
  CERTIFICATE_STATUS_UNKNOWN: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "The certificate's revocation state cannot be learned; registration fails closed.",
    zh: "无法获取证书状态。",
    action: "Try again later.",
  },
  CERTIFICATE_KEY_USAGE: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate may not sign, for example an encryption certificate.",
    zh: "证书用途不符。",
    action: "Use the signing certificate.",
  },
  CERTIFICATE_CHAIN_INVALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "A rule of the chain is broken: basic constraints, path length, naming, critical extension or algorithm.",
    zh: "证书链无效。",
    action: "Send the CA's own chain.",
  },
  CERTIFICATE_IDENTITY_ABSENT: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate carries no identity extension.",
    zh: "证书未包含身份标识。",
    action: "Ask the CA for an identity certificate.",
  },
  CERTIFICATE_IDENTITY_CONFLICT: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The certificate's identity extension, its subject and the request disagree.",
    zh: "证书身份信息不一致。",
    action: "Use the certificate of the registering subject.",
  },
  SIGNATURE_INVALID: {
    code: "UNAUTHENTICATED",
    retryable: false,
    en: "The signature over the challenge does not verify.",
    zh: "签名验证失败。",
    action: "Sign the challenge bytes again.",
  },

  // Verification and sources
  CLAIM_INCOMPLETE: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The claim lacks an element that its type requires.",
    zh: "核验要素不完整。",
    action: "Send all elements of the claim type.",
  },
  CLAIM_UNSUPPORTED: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "No lawful source can answer this claim at this level.",
    zh: "不支持的核验类型或等级。",
    action: "Choose a supported claim type.",
  },
  VERIFICATION_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such verification.",
    zh: "核验记录不存在。",
    action: "Check the id.",
  },
  SOURCE_UNAVAILABLE: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "A trust source does not answer.",
    zh: "信任源暂时不可用。",
    action: "Try again later.",
  },
  SOURCE_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such trust source.",
    zh: "信任源不存在。",
    action: "Check the id.",
  },
  SOURCE_SUSPENDED: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The trust source is suspended.",
    zh: "信任源已暂停。",
    action: "Use another source.",
  },
  QUOTA_EXCEEDED: {
    code: "RESOURCE_EXHAUSTED",
    retryable: true,
    en: "A cap per identifier, application or source is reached.",
    zh: "核验次数超出限额。",
    action: "Wait for the time in RetryInfo.",
  },
  ASSERTION_INVALID: {
    code: "FAILED_PRECONDITION",
    retryable: false,
    en: "The source's assertion is unsigned, replayed, stale, or for another audience.",
    zh: "信任源断言无效。",
    action: "Ask the source for a fresh assertion.",
  },

  // Audit
  EVENT_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The event lacks a required field or is too large.",
    zh: "审计事件无效。",
    action: "Correct the event.",
  },
  EVENT_CONFLICT: {
    code: "ALREADY_EXISTS",
    retryable: false,
    en: "Another event was recorded under the same event id.",
    zh: "审计事件编号冲突。",
    action: "Use a fresh event id.",
  },
  ENTRY_NOT_FOUND: {
    code: "NOT_FOUND",
    retryable: false,
    en: "There is no such entry in the log.",
    zh: "日志条目不存在。",
    action: "Check the index or event id.",
  },
  ENTRY_NOT_SEALED: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "The entry is not sealed yet.",
    zh: "日志条目尚未封存。",
    action: "Try again in a second.",
  },
  TREE_SIZE_INVALID: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "The tree size is larger than the log, or the range is reversed.",
    zh: "树大小无效。",
    action: "Use sizes of published checkpoints.",
  },
  PURPOSE_REQUIRED: {
    code: "INVALID_ARGUMENT",
    retryable: false,
    en: "Reading personal records needs a stated purpose.",
    zh: "查询须说明用途。",
    action: "State the purpose.",
  },
  AUDIT_UNAVAILABLE: {
    code: "UNAVAILABLE",
    retryable: true,
    en: "The audit service is unreachable and the method is privileged.",
    zh: "审计服务不可用，特权操作被暂停。",
    action: "Try again shortly.",
  },
} as const satisfies Record<string, ReasonEntry>;

export type Reason = keyof typeof reasons;

export function isReason(text: string): text is Reason {
  return Object.hasOwn(reasons, text);
}
