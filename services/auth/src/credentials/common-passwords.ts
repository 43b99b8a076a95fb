/**
 * Passwords, and the words they are made of, that are tried first: the head of published lists of leaked passwords, with
 * those that are common where Chinese is spoken. In lower case; `isCommon` strips digits and marks before it looks.
 */
export const commonPasswords: ReadonlySet<string> = new Set(
  `password passw passwd passwort password password1 password12 password123 p@ssword p@ssw0rd pass passpass letmein
   qwerty qwertyuiop qwerty123 qwerty1234 asdfgh asdfghjkl zxcvbn zxcvbnm qazwsx qazwsxedc 1qaz2wsx 1q2w3e4r 1q2w3e4r5t
   1qaz2wsx3edc q1w2e3r4 q1w2e3r4t5 a1b2c3d4 a123456789 a1234567890 aa123456 aa12345678 abc123456 abcd123456 abcdefghij
   qq123456 woaini woaini520 woaini1314 woaini1314520 iloveyou iloveyou1 5201314 52013145201314 1314520 zhangwei wangwei
   wangfang lina zhangmin lijing xiaoming woshishei wodemima mima mimamima nihao nihaoma ceshi beijing shanghai zhongguo
   china taobao alipay weixin wechat admin administrator root system user guest test testtest default changeme welcome
   welcome1 secret master monkey dragon football baseball sunshine princess superman batman starwars shadow michael
   jennifer jordan hunter trustno trustno1 computer internet samsung google facebook whatever freedom hello helloworld
   login access flower lovely ashley bailey charlie donald loveme hottie cheese summer winter spring autumn
   1234567890 0123456789 12345678910 123456789a 123456789q 1234567891 9876543210 0987654321 1122334455 1111111111
   0000000000 1212121212 1231231231 123123123 123321123 147258369 1472583690 741852963 7418529630 159357 789456123
   123456abc 123456qwerty 123qwe123 123qweasd 123qweasdzxc zaq12wsx zaq1zaq1 xsw2zaq1 fujie`
    .split(/\s+/)
    .filter((word) => word.length >= 4),
);
