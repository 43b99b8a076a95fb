/** What the pages say, in Simplified Chinese and in English. */
export type Language = "zh-CN" | "en";

const zh = {
  title: "登录",
  product: "符节统一实名身份认证",
  to: (name: string) => `登录后继续访问「${name}」`,
  loginName: "用户名",
  password: "密码",
  signIn: "登录",
  withPassword: "密码登录",
  withCertificate: "数字证书登录",
  certificateHelp:
    "用您证书的私钥对下面的挑战内容签名，然后选择证书文件（含中级证书）和签名文件。挑战两分钟内有效，只能使用一次。",
  challenge: "待签名内容",
  certificates: "证书文件（PEM 或 DER）",
  signature: "签名文件",
  format: "签名格式",
  raw: "原始签名",
  pkcs7: "PKCS#7",
  abort: "取消",
  throttled: (minutes: number) => `尝试次数过多，请在 ${minutes} 分钟后再试，或使用数字证书登录。`,
  consentTitle: "授权",
  consentAsk: (name: string) => `「${name}」请求以您的名义进行以下操作：`,
  allow: "同意",
  failure: "出错了",
  failureHelp: "请返回应用重新发起登录。",
  trace: "跟踪号",
  signOutTitle: "退出登录",
  signOutAsk: "要退出登录吗？所有应用的会话都会结束。",
  signOut: "退出",
  stay: "保持登录",
  signedOut: "您已退出登录。",
};

const en: typeof zh = {
  title: "Sign in",
  product: "Fujie real-name identity",
  to: (name) => `Sign in to continue to “${name}”`,
  loginName: "Login name",
  password: "Password",
  signIn: "Sign in",
  withPassword: "With a password",
  withCertificate: "With a certificate",
  certificateHelp:
    "Sign the challenge below with your certificate's private key, then choose the certificate file (with intermediates) and the signature file. The challenge is valid for two minutes and works once.",
  challenge: "To be signed",
  certificates: "Certificate file (PEM or DER)",
  signature: "Signature file",
  format: "Signature format",
  raw: "Raw signature",
  pkcs7: "PKCS#7",
  abort: "Cancel",
  throttled: (minutes) => `Too many attempts. Try again in ${minutes} min, or sign in with a certificate.`,
  consentTitle: "Consent",
  consentAsk: (name) => `“${name}” asks to do the following in your name:`,
  allow: "Allow",
  failure: "Something went wrong",
  failureHelp: "Please go back to the application and start again.",
  trace: "Trace",
  signOutTitle: "Sign out",
  signOutAsk: "Sign out? Your sessions at all applications will end.",
  signOut: "Sign out",
  stay: "Stay signed in",
  signedOut: "You are signed out.",
};

export const texts: Readonly<Record<Language, typeof zh>> = { "zh-CN": zh, en };

const scopeTexts: Readonly<Record<string, Readonly<Record<Language, string>>>> = {
  "account.read": { "zh-CN": "查看您的账户信息", en: "Read your account" },
  "account.write": { "zh-CN": "修改您的账户", en: "Change your account" },
  "organisation.register": { "zh-CN": "为您登记企业", en: "Register an organisation for you" },
  "organisation.read": { "zh-CN": "查看您的企业", en: "Read your organisations" },
  "delegation.read": { "zh-CN": "查看您的授权关系", en: "Read your delegations" },
  "delegation.write": { "zh-CN": "管理您的授权关系", en: "Manage your delegations" },
  "consent.read": { "zh-CN": "查看您的同意记录", en: "Read your consents" },
  "consent.write": { "zh-CN": "管理您的同意记录", en: "Manage your consents" },
};

/** What a scope lets an application do, in words. */
export function describeScope(scope: string, language: Language): string {
  return scopeTexts[scope]?.[language] ?? scope;
}

/** Chinese comes first; English for those whose browser prefers it (RFC 9110 §12.5.4). */
export function preferredLanguage(acceptLanguage: string | undefined): Language {
  const ranked = (acceptLanguage ?? "")
    .slice(0, 200)
    .split(",")
    .map((item) => {
      const [tag = "", ...parameters] = item.trim().toLowerCase().split(";");
      const quality = parameters.find((parameter) => parameter.trim().startsWith("q="));
      return { tag, quality: quality === undefined ? 1 : Number(quality.trim().slice(2)) };
    })
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality);
  const first = ranked.find(({ tag }) => /^(zh|en)(-|$)/.test(tag));
  return first?.tag.startsWith("en") === true ? "en" : "zh-CN";
}
