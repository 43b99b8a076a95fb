/** The first code point of the run that GBK fonts and GB 18030-2000 used for characters Unicode did not have yet. */
const FIRST = 0xe815;

/**
 * The public characters for U+E815–U+E864, in order: bytes FE50–FEA0 of GB 18030, which the editions of 2005 and 2022
 * moved from private use to these code points. A base filled before then may still hold the old ones.
 */
const PUBLIC_CHARACTERS = [
  ..."⺁𠂇𠂉𠃌⺄㑳㑇⺈⺋龴㖞㘚㘎⺌⺗㥮㤘龵㧏㧟㩳㧐龶龷㭎㱮㳠⺧𡗗龸⺪䁖䅟⺮䌷⺳⺶⺷𢦏䎱䎬⺻䏝䓖䙡䙌龹䜣䜩䝼䞍⻊䥇䥺䥽䦂䦃䦅䦆䦟䦛䦷䦶龺𤇾䲣䲟䲠䲡䱷䲢䴓䴔䴕䴖䴗䴘䴙䶮龻",
];

/** Replaces private-use code points whose public character is known; others stay. */
export function toPublicCharacters(text: string): string {
  return text.replace(
    /[\uE815-\uE864]/g,
    (character) => PUBLIC_CHARACTERS[character.charCodeAt(0) - FIRST] ?? character,
  );
}

/** Replaces characters that a base filled before 2005 may hold under a private-use code point by that; others stay. */
export function toPrivateUse(text: string): string {
  return [...text]
    .map((character) => {
      const place = PUBLIC_CHARACTERS.indexOf(character);
      return place === -1 ? character : String.fromCharCode(FIRST + place);
    })
    .join("");
}
