import type { AgreementText } from "./agreement.ts";

/** The service agreement and privacy notice of January 2026. Never edited: a change is a new file. */
export const agreement202601: AgreementText = {
  version: "2026-01",
  noticeVersion: "2026-01",
  inForceFrom: "2026-01-01T00:00:00+08:00",
  textZh: `统一身份认证平台用户服务协议

一、服务内容。本平台为自然人、法人和非法人组织提供实名注册、核验与统一身份认证服务。
二、实名要求。您应当提供本人真实、有效的身份信息。自然人以公民身份号码、法人以统一社会信用代码作为唯一标识；以身份号码和姓名注册的账户，须经现场实名核验窗口核验后方成为实名账户。
三、账户使用。账户仅限本人使用，不得出租、出借或转让。您应当妥善保管登录凭证，发现被他人使用时应当及时告知平台。
四、授权。法定代表人可以授权管理员和办事人，管理员可以授权办事人；授权可以随时收回，由此产生的下级授权一并终止。
五、认证与同意。应用单位核验您的身份，须有您对该次核验的单独同意，或者有法律依据。您可以随时撤回尚未使用的同意。
六、更正与注销。唯一标识不得变更；姓名的变更向原登记机构申请。您可以随时注销账户；注销后重新注册的，视为新用户并重新核验。
七、责任。平台依照法律、行政法规和国家标准承担网络安全与个人信息保护责任。
八、本协议以中文文本为准。
`,
  textEn: `User agreement of the unified identity authentication platform

1. Service. The platform offers real-name registration, verification and unified authentication to natural persons, legal persons and unincorporated organisations.
2. Real names. You give your own true and valid identity data. A natural person is identified by the citizen identity number, a legal person by the unified social credit code. An account registered by number and name becomes real-name only after a check at an on-site counter.
3. Use. The account is yours alone; it may not be rented, lent or transferred. Keep your credentials safe and tell the platform at once when somebody else uses them.
4. Delegation. A legal representative may authorise administrators and clerks, an administrator may authorise clerks. Each may be taken back at any time, and ends what was given under it.
5. Authentication and consent. An application verifies your identity only with your separate consent to that verification, or on a legal basis. You may withdraw a consent that is not used yet at any time.
6. Correction and cancellation. The unique identifier cannot be changed; a change of name is applied for at the institution that registered it. You may cancel the account at any time; registering again makes you a new user, verified anew.
7. Responsibility. The platform answers for network security and the protection of personal information under laws, regulations and national standards.
8. The Chinese text is binding.
`,
  noticeZh: `个人信息处理告知

一、处理者：统一身份认证平台运营单位。
二、处理的信息：公民身份号码、姓名、登录名；现场核验时的证件影像和本人持证照片（敏感个人信息）。
三、目的与方式：核实您的真实身份。号码和姓名向人口基础信息库核验；影像由窗口人员比对，加密归档作为核验凭据。
四、保存期限：未经确认的注册到期后删除；注销后依法应当保存的内容加密保存至法定期限届满，届时销毁密钥。
五、您的权利：查阅、更正、撤回同意、注销账户，以及向主管部门投诉。
六、不提供上述信息将无法注册实名账户，不影响您使用无需实名的服务。
`,
  noticeEn: `Notice on the processing of personal information

1. Processor: the operator of the unified identity authentication platform.
2. Information: citizen identity number, name and login name; at the counter, images of the document and of you holding it (sensitive personal information).
3. Purpose and manner: establishing your true identity. Number and name are checked against the population base; the images are compared by the counter's staff and archived, encrypted, as evidence of the check.
4. Retention: a registration that is not confirmed is erased when it expires; after cancellation, what law says must be kept stays encrypted until that time is over, and its key is destroyed then.
5. Your rights: access, correction, withdrawal of consent, cancellation, and complaint to the competent authority.
6. Without this information no real-name account can be registered; services that need no real name remain open to you.
`,
};
