//! Who visits, and what they ask for next.

use super::{REGIONS, Random};

/// Sessions going on at any time.
const SESSIONS: usize = 400;
/// People who come back.
const PEOPLE: u64 = 20_000;
const PRODUCTS: u64 = 500;
const ROBOTS_PERCENT: u64 = 6;
/// Every so often a section has an incident for a minute of event time.
const INCIDENT_EVERY_MINUTES: i64 = 7;

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:126.0) Gecko/20100101 Firefox/126.0",
];
const ROBOTS: [&str; 3] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
];
const NAMES: [&str; 8] = ["anna", "ben", "carla", "david", "emma", "felix", "gina", "hugo"];
const WORDS: [&str; 8] = ["shoes", "jacket", "lamp", "phone", "desk", "bottle", "tent", "book"];
const ARTICLES: [&str; 5] =
    ["summer-sale", "how-to-choose-a-tent", "behind-the-scenes", "sizes-explained", "ten-gifts"];
const REFERERS: [&str; 4] =
    ["https://www.google.com/", "https://duckduckgo.com/", "https://news.example.com/", "https://social.example.com/"];

/// A section of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    Search,
    Product,
    Cart,
    Checkout,
    /// An order was placed.
    Complete,
    Blog,
    Account,
    /// What robots ask for first.
    Robots,
}

/// One request, as the log tells it.
pub(super) struct Request<'a> {
    pub visitor: &'a Visitor,
    pub method: &'static str,
    pub path: &'a str,
    pub status: u16,
    pub bytes: u64,
    pub referer: &'a str,
    pub response_ms: u64,
}

/// A person or robot in a session.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub address: [u8; 4],
    pub agent: &'static str,
    /// Set while logged in.
    pub name: Option<String>,
    number: u64,
    robot: bool,
    page: Page,
    referer: String,
    cart_cents: u64,
    steps_left: u64,
}

/// All sessions that are going on.
pub(super) struct Visitors {
    sessions: Vec<Visitor>,
    path: String,
    /// Where the visitor came from, while its page already is the next one.
    referer: String,
    orders: u64,
}

impl Visitors {
    pub fn new(random: &mut Random) -> Self {
        let sessions = (0..SESSIONS)
            .map(|_| {
                let mut visitor = Visitor::new(random);
                // Sessions are in the middle of things when the log begins.
                visitor.steps_left = 1 + random.below(visitor.steps_left);
                visitor
            })
            .collect();
        Self { sessions, path: String::new(), referer: String::new(), orders: 100_000 }
    }

    /// The next request of anyone.
    pub fn request(&mut self, now_ms: i64, random: &mut Random) -> Request<'_> {
        let index = random.skewed(SESSIONS as u64) as usize;
        if self.sessions[index].steps_left == 0 {
            self.sessions[index] = Visitor::new(random);
        }
        let visitor = &mut self.sessions[index];
        visitor.steps_left -= 1;
        let method = visitor.step(&mut self.path, &mut self.orders, random);
        let (status, response_ms) = answer(visitor.page, now_ms, random);
        if visitor.page == Page::Complete && status < 400 {
            visitor.cart_cents = 0;
        }
        std::mem::swap(&mut self.referer, &mut visitor.referer);
        visitor.referer.clear();
        visitor.referer.push_str("https://shop.example");
        visitor.referer.push_str(&self.path);
        if visitor.robot {
            self.referer.clear();
        }
        let bytes = if status == 304 { 0 } else { visitor.page.bytes() + random.below(visitor.page.bytes()) };
        Request { visitor, method, path: &self.path, status, bytes, referer: &self.referer, response_ms }
    }
}

impl Visitor {
    fn new(random: &mut Random) -> Self {
        if random.percent(ROBOTS_PERCENT) {
            return Self {
                address: [66, 249, 64 + random.below(16) as u8, random.below(256) as u8],
                agent: ROBOTS[random.below(ROBOTS.len() as u64) as usize],
                name: None,
                number: 0,
                robot: true,
                page: Page::Robots,
                referer: String::new(),
                cart_cents: 0,
                steps_left: 5 + random.below(40),
            };
        }
        // Address and agent belong to a person and are the same when they come back.
        let number = random.skewed(PEOPLE);
        let mut person = Random::new(number);
        let region = person.skewed(REGIONS.len() as u64) as usize;
        let address =
            [REGIONS[region].0, person.below(256) as u8, person.below(256) as u8, 1 + person.below(254) as u8];
        let referer = if random.percent(60) { REFERERS[random.below(REFERERS.len() as u64) as usize] } else { "" };
        Self {
            address,
            agent: AGENTS[person.skewed(AGENTS.len() as u64) as usize],
            name: None,
            number,
            robot: false,
            page: if random.percent(60) { Page::Home } else { Page::Product },
            referer: referer.to_owned(),
            cart_cents: 0,
            steps_left: 2 + random.skewed(30),
        }
    }

    /// Moves to the next page and writes its path.
    fn step(&mut self, path: &mut String, orders: &mut u64, random: &mut Random) -> &'static str {
        use std::fmt::Write as _;
        let dice = random.below(100);
        self.page = if self.robot {
            match dice {
                0..5 => Page::Robots,
                5..70 => Page::Product,
                70..90 => Page::Blog,
                _ => Page::Home,
            }
        } else {
            match (self.page, dice) {
                (Page::Home, 0..35) | (Page::Search, 0..20) | (Page::Blog, 0..15) => Page::Search,
                (Page::Home, 35..80) | (Page::Search, 20..85) | (Page::Blog, 15..45) => Page::Product,
                (Page::Home, 80..92) | (Page::Blog, 45..70) => Page::Blog,
                (Page::Product, 0..22) => Page::Cart,
                (Page::Product, 22..70) => Page::Product,
                (Page::Product, 70..90) => Page::Search,
                (Page::Cart, 0..45) => Page::Checkout,
                (Page::Cart, 45..85) => Page::Product,
                (Page::Checkout, 0..65) if self.cart_cents > 0 => Page::Complete,
                (Page::Checkout, 65..80) => Page::Cart,
                (_, 96..) => Page::Account,
                _ => Page::Home,
            }
        };
        path.clear();
        // Writing to a String never fails.
        match self.page {
            Page::Home => path.push_str("/home"),
            Page::Search => {
                let word = WORDS[random.skewed(WORDS.len() as u64) as usize];
                let _ = write!(path, "/search?q={word}");
                if random.percent(25) {
                    let _ = write!(path, "&page={}", 2 + random.below(4));
                }
            }
            Page::Product => {
                let _ = write!(path, "/product/{}", 1 + random.skewed(PRODUCTS));
            }
            Page::Cart => {
                if random.percent(60) || self.cart_cents == 0 {
                    self.cart_cents += 499 + 100 * random.skewed(200);
                    let _ = write!(path, "/cart/add?product={}", 1 + random.skewed(PRODUCTS));
                    return "POST";
                }
                path.push_str("/cart");
            }
            Page::Checkout => path.push_str("/checkout"),
            Page::Complete => {
                *orders += 1;
                let (order, cents) = (*orders, self.cart_cents);
                let _ = write!(path, "/checkout/complete?order={order}&amount={}.{:02}", cents / 100, cents % 100);
                return "POST";
            }
            Page::Blog => {
                let _ = write!(path, "/blog/{}", ARTICLES[random.skewed(ARTICLES.len() as u64) as usize]);
            }
            Page::Account => {
                if self.name.is_none() {
                    let name = NAMES[self.number as usize % NAMES.len()];
                    self.name = Some(format!("{name}{}", self.number));
                    path.push_str("/account/login");
                    return "POST";
                }
                path.push_str("/account");
            }
            Page::Robots => path.push_str("/robots.txt"),
        }
        "GET"
    }
}

impl Page {
    fn bytes(self) -> u64 {
        match self {
            Self::Home => 18_000,
            Self::Search => 24_000,
            Self::Product => 15_000,
            Self::Blog => 30_000,
            Self::Cart | Self::Checkout | Self::Complete => 6_000,
            Self::Account => 4_000,
            Self::Robots => 400,
        }
    }

    /// Milliseconds the server takes, at least.
    fn base_ms(self) -> u64 {
        match self {
            Self::Home => 25,
            Self::Search => 90,
            Self::Product => 40,
            Self::Blog => 20,
            Self::Cart => 45,
            Self::Checkout => 110,
            Self::Complete => 240,
            Self::Account => 60,
            Self::Robots => 3,
        }
    }
}

/// Status and response time.
fn answer(page: Page, now_ms: i64, random: &mut Random) -> (u16, u64) {
    let minute = now_ms.div_euclid(60_000);
    let struck = match minute.div_euclid(INCIDENT_EVERY_MINUTES).rem_euclid(3) {
        0 => Page::Search,
        1 => Page::Checkout,
        _ => Page::Product,
    };
    let incident = minute.rem_euclid(INCIDENT_EVERY_MINUTES) == INCIDENT_EVERY_MINUTES - 1 && struck == page;
    let base = page.base_ms();
    let mut response_ms = base + random.skewed(base * 4);
    let dice = random.below(1000);
    let status = if incident && dice < 180 {
        503
    } else {
        match (page, dice) {
            (_, 0..4) => 500,
            (Page::Complete, 4..12) => 502,
            (Page::Product | Page::Blog, 4..30) => 404,
            (Page::Account, 4..80) => 401,
            (Page::Home | Page::Blog | Page::Product, 800..880) => 304,
            _ => 200,
        }
    };
    if incident || status >= 500 {
        response_ms = response_ms * 6 + random.below(1_500);
    }
    (status, response_ms)
}
