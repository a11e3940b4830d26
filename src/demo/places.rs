//! Where made-up people live: scripts, streets, postcodes, telephone numbers.
//!
//! In a pattern `#` is any digit and `%` one from 1 to 9. Telephone numbers lie in the ranges that regulators keep for
//! fiction where a country has one that the numbering plan knows as valid (DE, GB, US).

use fake::locales::{AR_SA, DE_DE, EN, FR_FR, IT_IT, JA_JP, NL_NL, PT_BR, TR_TR, ZH_CN, ZH_TW};

use super::people::{Locale, Names};

/// A country or state, with what is written there.
pub(super) struct Place {
    pub(super) jurisdiction: &'static str,
    pub(super) language: &'static str,
    pub(super) currency: &'static str,
    pub(super) names: &'static dyn Names,
    /// Street, house number, city with postcode.
    pub(super) address: &'static [&'static str],
    pub(super) streets: &'static [&'static str],
    pub(super) cities: &'static [&'static str],
    pub(super) phones: &'static [&'static str],
    pub(super) posts: &'static [&'static str],
    pub(super) messages: &'static [&'static str],
}

const SMALL_NUMBERS: &[&str] = &["%", "%#", "1##"];

const DUTCH_MESSAGES: &[&str] = &[
    "Waar blijft mijn bestelling? Ik wacht al een week.",
    "Kunt u mijn adres wijzigen? Ik ben verhuisd.",
    "Het pakket is beschadigd aangekomen. Wat nu?",
];
const ENGLISH_MESSAGES: &[&str] = &[
    "Where is my order? The tracking page has not moved for three days.",
    "I have moved. Please send everything to my new address from now on.",
    "The second parcel arrived with a broken lid. Can I send it back?",
    "Could you tell me what you keep about me, please?",
];
const FRENCH_MESSAGES: &[&str] = &[
    "Où en est ma commande ? Le suivi n’avance plus depuis trois jours.",
    "J’ai déménagé : merci de mettre à jour mon adresse.",
    "Le colis est arrivé abîmé. Puis-je le renvoyer ?",
];

/// All of them; every one about equally often.
pub(super) const PLACES: &[Place] = &[
    Place {
        jurisdiction: "DE",
        language: "de-DE",
        currency: "EUR",
        names: &Locale { of: DE_DE, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["Lindenweg {}", "Am Alten Markt {}", "Goethestraße {}", "Mühlgasse {}", "Übersee-Allee {}"],
        cities: &["10### Berlin", "20### Hamburg", "50### Köln", "80### München", "04### Leipzig"],
        phones: &["+49 30 23125###", "+49 40 66969###", "+49 89 99998###", "+49 221 4710###"],
        posts: &["Einkäuferin", "Vertriebsleiter", "Geschäftsführerin", "Lagermeister"],
        messages: &[
            "Wo bleibt meine Bestellung? Die Sendungsverfolgung steht seit drei Tagen still.",
            "Ich bin umgezogen, bitte ändern Sie meine Anschrift.",
            "Der Deckel war schon beim Auspacken kaputt. Kann ich ihn zurückschicken?",
        ],
    },
    Place {
        jurisdiction: "FR",
        language: "fr-FR",
        currency: "EUR",
        names: &Locale { of: FR_FR, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["{} rue des Lilas", "{} avenue de la République", "{} impasse du Moulin", "{} quai Saint-Éloi"],
        cities: &["750## Paris", "690## Lyon", "310## Toulouse", "670## Strasbourg"],
        phones: &["+33 1 49 ## ## ##", "+33 6 12 ## ## ##"],
        posts: &["Acheteuse", "Directeur commercial", "Gérante"],
        messages: FRENCH_MESSAGES,
    },
    Place {
        jurisdiction: "IT",
        language: "it-IT",
        currency: "EUR",
        names: &Locale { of: IT_IT, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["Via Garibaldi {}", "Piazza della Libertà {}", "Corso Umberto I {}", "Vicolo Stretto {}"],
        cities: &["001## Roma (RM)", "201## Milano (MI)", "801## Napoli (NA)", "501## Firenze (FI)"],
        phones: &["+39 347 %######", "+39 333 %######"],
        posts: &["Responsabile acquisti", "Direttrice", "Magazziniere"],
        messages: &[
            "Dov’è il mio ordine? Il tracciamento è fermo da tre giorni.",
            "Ho cambiato casa: potete aggiornare l’indirizzo?",
            "Il coperchio è arrivato rotto. Posso restituirlo?",
        ],
    },
    Place {
        jurisdiction: "BE",
        language: "nl-BE",
        currency: "EUR",
        names: &Locale { of: NL_NL, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["Kerkstraat {}", "Jozefsingel {}", "Rue Haute {}", "Stationsplein {}"],
        cities: &["1000 Brussel", "2000 Antwerpen", "9000 Gent", "4000 Liège"],
        phones: &["+32 470 ## ## ##", "+32 2 51# ## ##"],
        posts: &["Aankoper", "Zaakvoerder"],
        messages: DUTCH_MESSAGES,
    },
    Place {
        jurisdiction: "NL",
        language: "nl-NL",
        currency: "EUR",
        names: &Locale { of: NL_NL, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["Prinsengracht {}", "Dorpsstraat {}", "Oude Haven {}"],
        cities: &["10## AB Amsterdam", "30## CD Rotterdam", "35## EF Utrecht"],
        phones: &["+31 6 1%######", "+31 20 62#####"],
        posts: &["Inkoper", "Directeur"],
        messages: DUTCH_MESSAGES,
    },
    Place {
        jurisdiction: "GB",
        language: "en-GB",
        currency: "GBP",
        names: &Locale { of: EN, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["{} High Street", "{} Mill Lane", "{} Church Row", "Flat {}, The Old Maltings"],
        cities: &["London SW1A %AA", "Leeds LS1 %BB", "Cardiff CF10 %CC", "Glasgow G1 %DD"],
        phones: &["+44 20 7946 0###", "+44 161 496 0###", "+44 29 2018 0###"],
        posts: &["Buyer", "Managing director", "Head of logistics"],
        messages: ENGLISH_MESSAGES,
    },
    Place {
        jurisdiction: "US-CA",
        language: "en-US",
        currency: "USD",
        names: &Locale { of: EN, family_first: false, joint: " " },
        address: &["%##", "%###", "%####"],
        streets: &["{} Mission Street", "{} Sunset Boulevard", "{} El Camino Real"],
        cities: &["San Francisco, CA 941##", "Los Angeles, CA 900##", "San Diego, CA 921##"],
        phones: &["+1 415-555-01##", "+1 213-555-01##", "+1 619-555-01##"],
        posts: &["Purchasing manager", "Chief operating officer"],
        messages: ENGLISH_MESSAGES,
    },
    Place {
        jurisdiction: "BR",
        language: "pt-BR",
        currency: "BRL",
        names: &Locale { of: PT_BR, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["Rua das Flores, {}", "Avenida São João, {}", "Travessa do Comércio, {}"],
        cities: &["01###-### São Paulo - SP", "20###-### Rio de Janeiro - RJ", "40###-### Salvador - BA"],
        phones: &["+55 11 9%###-####", "+55 21 9%###-####"],
        posts: &["Compradora", "Gerente de vendas"],
        messages: &[
            "Cadê o meu pedido? O rastreamento parou há três dias.",
            "Mudei de endereço, podem atualizar?",
            "A tampa chegou quebrada. Posso devolver?",
        ],
    },
    Place {
        jurisdiction: "JP",
        language: "ja-JP",
        currency: "JPY",
        names: &Locale { of: JA_JP, family_first: true, joint: " " },
        address: &["%-#", "%-1#-#"],
        streets: &["桜丘町{}", "中央通り{}", "本町{}", "緑ヶ丘{}"],
        cities: &["〒150-00## 東京都渋谷区", "〒530-00## 大阪府大阪市北区", "〒600-80## 京都府京都市下京区"],
        phones: &["+81 90-%###-####", "+81 80-%###-####"],
        posts: &["購買部長", "営業担当", "代表取締役"],
        messages: &[
            "注文した商品がまだ届きません。三日前から配送状況が変わっていません。",
            "引っ越しましたので、住所の変更をお願いします。",
            "ふたが割れた状態で届きました。返品できますか。",
        ],
    },
    Place {
        jurisdiction: "CN",
        language: "zh-CN",
        currency: "CNY",
        names: &Locale { of: ZH_CN, family_first: true, joint: "" },
        address: &["%号", "1##号"],
        streets: &["中山路{}", "解放大街{}", "和平里{}"],
        cities: &["北京市朝阳区 1000##", "上海市浦东新区 2001##", "广州市天河区 5106##"],
        phones: &["+86 138 #### ####", "+86 139 #### ####"],
        posts: &["采购经理", "销售总监"],
        messages: &[
            "我的订单什么时候到？物流三天没有更新了。",
            "我搬家了，请更改我的收货地址。",
            "盖子收到时已经破了，可以退货吗？",
        ],
    },
    Place {
        jurisdiction: "TW",
        language: "zh-TW",
        currency: "TWD",
        names: &Locale { of: ZH_TW, family_first: true, joint: "" },
        address: &["%號", "1##號"],
        streets: &["忠孝東路{}", "民生路{}", "成功街{}"],
        cities: &["100 臺北市中正區", "407 臺中市西屯區", "800 高雄市新興區"],
        phones: &["+886 912 ### ###", "+886 933 ### ###"],
        posts: &["採購專員", "業務經理"],
        messages: &["請問我的訂單何時會到？", "我搬家了，麻煩更新地址。"],
    },
    Place {
        jurisdiction: "EG",
        language: "ar-EG",
        currency: "EGP",
        names: &Locale { of: AR_SA, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["{} شارع التحرير", "{} شارع النيل", "{} ميدان طلعت حرب"],
        cities: &["القاهرة 115##", "الإسكندرية 215##", "الجيزة 125##"],
        phones: &["+20 10 0### ####", "+20 12 2### ####"],
        posts: &["مدير المشتريات", "مديرة المبيعات"],
        messages: &["أين طلبي؟ لم تتغير حالة الشحن منذ ثلاثة أيام.", "لقد انتقلت إلى عنوان جديد، أرجو تحديث بياناتي."],
    },
    Place {
        jurisdiction: "TR",
        language: "tr-TR",
        currency: "TRY",
        names: &Locale { of: TR_TR, family_first: false, joint: " " },
        address: SMALL_NUMBERS,
        streets: &["Atatürk Caddesi No: {}", "Çınar Sokağı No: {}", "İnönü Bulvarı No: {}"],
        cities: &["34### İstanbul", "06### Ankara", "35### İzmir"],
        phones: &["+90 532 ### ## ##", "+90 542 ### ## ##"],
        posts: &["Satın alma müdürü", "Genel müdür"],
        messages: &["Siparişim nerede? Kargo üç gündür hareket etmiyor.", "Taşındım, adresimi günceller misiniz?"],
    },
];
