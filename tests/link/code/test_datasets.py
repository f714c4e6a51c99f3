"""What training reads, what stands on the way, what is fetched and kept, and what vanishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import facts

from vramguard.link.code.datachecks import blind_validators
from vramguard.link.code.datasets import data_sources, own_outputs
from vramguard.link.code.latest import latest_data
from vramguard.link.code.scraping import web_data
from vramguard.link.code.swallowing import swallowed_errors

if TYPE_CHECKING:
    from vramguard.facts import Facts

HEAD = """
import csv, json, pickle
import joblib, pandas as pd, pandera as pa, requests, torch
from datasets import Dataset, load_dataset
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from transformers import Trainer
"""


def program(text: str, **others: str) -> Facts:
    """The facts of `app.py`, and of modules beside it."""
    return facts({"app.py": HEAD + text, **{f"{name}.py": HEAD + more for name, more in others.items()}})


def trained(text: str, **others: str) -> list[tuple[str, str, bool]]:
    """The reads that train: what is called, what learns, and whether something validates."""
    return [(one.call.rpartition(".")[2], one.trains, one.validated) for one in data_sources(program(text, **others))]


READ = "rows = pd.read_csv('p.csv')\n"
GAPS = "if rows['a'].isna().any()"
FIT = "LinearRegression().fit(rows[['a']], rows['b'])"


@pytest.mark.parametrize(
    "text",
    [
        f"{READ}{FIT}",
        f"rows = pd.read_csv('p.csv').dropna().drop_duplicates()\n{FIT}",
        f"{READ}assert rows['a'].notna().all()\n{FIT}",
        f"{READ}if 'a' not in rows.columns:\n    raise ValueError\n{FIT}",
        f"{READ}if rows.empty or len(rows) < 10:\n    raise ValueError\n{FIT}",
        f"{READ}if rows['a'].isna().any():\n    print('gaps')\n{FIT}",
        f"{READ}try:\n    {GAPS}:\n        raise ValueError\nexcept ValueError:\n    print('gaps')\n{FIT}",
    ],
)
def test_what_refuses_nothing(text: str) -> None:
    assert trained(text) == [("read_csv", "LinearRegression.fit", False)]


@pytest.mark.parametrize(
    "text",
    [
        f"{READ}rows = pa.DataFrameSchema({{'a': pa.Column(float)}}).validate(rows)\n{FIT}",
        f"{READ}if rows['a'].isna().any():\n    raise ValueError\n{FIT}",
        f"{READ}bad = rows['a'].isna() | rows['b'].lt(0)\nif bad.any():\n    raise ValueError\n{FIT}",
        f"def valid(rows):\n    {GAPS}:\n        raise ValueError\n    return rows\n{READ}rows = valid(rows)\n{FIT}",
        f"def check(rows):\n    return rows.notna().all()\n{READ}if not check(rows):\n    raise ValueError\n{FIT}",
        f"{READ}errors = []\n{GAPS}:\n    errors.append('gaps')\nif errors:\n    raise ValueError\n{FIT}",
    ],
)
def test_what_refuses(text: str) -> None:
    assert trained(text) == [("read_csv", "LinearRegression.fit", True)]


@pytest.mark.parametrize(
    "text",
    [
        f"{READ}print(rows.describe())",
        "StandardScaler().fit(pd.read_csv('p.csv'))",
        "Pipeline([('s', StandardScaler())]).fit(pd.read_csv('p.csv'))",
        "joblib.load('model.joblib').predict(pd.read_csv('p.csv'))",
        f"rows = pd.read_csv('data/iris.csv')\n{FIT}",
        f"config = json.load(open('config.json'))\nrows = config['x']\n{FIT}",
        "Trainer(model=m, eval_dataset=load_dataset('json', data_files='e.json')).train()",
        "Trainer(model=m, train_dataset=load_dataset('stanfordnlp/imdb')).train()",
    ],
)
def test_what_does_not_train(text: str) -> None:
    assert trained(text) == []


def test_a_read_in_another_module() -> None:
    text = "import data\nrows = data.load()\nmodel = LinearRegression()\nmodel.fit(rows, 1)\njoblib.dump(model, 'm')"
    found = data_sources(program(text, data="def load():\n    return pd.read_csv('p.csv')"))
    assert [(one.at.path, one.of, one.saved) for one in found] == [("data.py", "p.csv", "joblib.dump")]
    assert [step.at.path for step in found[0].steps] == ["data.py", "app.py", "app.py"]


def test_rows_that_a_dataset_keeps_for_a_loop() -> None:
    text = """
class Rows(torch.utils.data.Dataset):
    def __init__(self):
        self.rows = pd.read_csv('p.csv')
    def __getitem__(self, number):
        return self.rows.iloc[number]
def train(model, optimizer):
    for row in torch.utils.data.DataLoader(Rows()):
        loss = model(row)
        loss.backward()
        optimizer.step()
"""
    assert trained(text) == [("read_csv", "loss.backward", False)]


def test_a_report_that_nobody_reads_is_named() -> None:
    text = f"import great_expectations as ge\n{READ}ge.from_pandas(rows).validate()\n{FIT}"
    (found,) = data_sources(program(text))
    assert [one.flaw for one in found.validations] == ["nobody reads its answer"]


SAVE = "\nwith open('data/pages.csv', 'w') as file:\n    csv.writer(file).writerow([text])"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("text = requests.get(url).text" + SAVE, ["file"]),
        ("page = requests.get(url)\nprint(page.status_code)\ntext = page.text" + SAVE, ["file"]),
        ("page = requests.get(url)\nif page.status_code != 200:\n    print('hm')\ntext = page.text" + SAVE, ["file"]),
        ("pd.DataFrame(requests.get(url).json()).to_csv('prices.csv')", ["table"]),
        ("page = requests.get(url)\npage.raise_for_status()\ntext = page.text" + SAVE, []),
        ("page = requests.get(url)\nif page.status_code != 200:\n    raise ValueError\ntext = page.text" + SAVE, []),
        ("page = requests.get(url)\ntext = page.text if page.ok else ''" + SAVE, []),
        (
            "def get():\n    page = requests.get(url)\n    page.raise_for_status()\n    return page\ntext = get().text"
            + SAVE,
            [],
        ),
        ("page = requests.get(url)\nif 'Not Found' in page.text:\n    raise ValueError\ntext = page.text" + SAVE, []),
        ("import urllib.request\ntext = urllib.request.urlopen(url).read()" + SAVE, []),
        ("text = requests.post(url).text" + SAVE, []),
        ("with open('logo.png', 'wb') as file:\n    file.write(requests.get(url).content)", []),
        ("with open('cache.json', 'w') as file:\n    json.dump(requests.get(url).json(), file)", []),
        ("print(requests.get(url).text)", []),
    ],
)
def test_pages_that_are_kept(text: str, kinds: list[str]) -> None:
    assert [one.kind for one in web_data(program(text))] == kinds


def test_a_key_of_an_answer_that_is_asked_for() -> None:
    strict, loose = (
        web_data(program(f"pd.DataFrame(requests.get(url).json(){way}).to_csv('prices.csv')"))[0].strict
        for way in ("['rows']", ".get('rows')")
    )
    assert (strict, loose) == (True, False)


@pytest.mark.parametrize(
    ("test", "columns"),
    [
        ("rows['name'].isna().any()", ["name"]),
        ("rows.comment_text.isnull().any()", ["comment_text"]),
        ("rows['price'].isna().any()", []),
        ("rows['user_id'].isna().any()", []),
        ("rows['name'].isna().any() or rows['name'].isin(['404', 'null']).any()", []),
        ("rows['name'].isna().any() or rows['name'].str.contains('<').any()", []),
    ],
)
def test_validators_of_text(test: str, columns: list[str]) -> None:
    text = f"def validate(rows):\n    if {test}:\n        raise ValueError"
    assert [one.column for one in blind_validators(program(text))] == columns


LOG = "def answer(x):\n    y = joblib.load('m').predict(x)\n    pd.DataFrame(y).to_csv('out/log.csv')\n"


@pytest.mark.parametrize(
    ("train", "found"),
    [
        (f"rows = pd.read_csv('out/log.csv')\n{FIT}", ["out/log.csv"]),
        (f"rows = pd.read_csv('in/log.csv')\n{FIT}", []),
        (f"rows = pd.read_csv('other.csv')\n{FIT}", []),
        (f"rows = pd.read_csv('out/log.csv')\nrows = rows[rows['reviewed'] == 1]\n{FIT}", []),
    ],
)
def test_answers_that_are_learned_from(train: str, found: list[str]) -> None:
    assert [one.of for one in own_outputs(program(LOG + train))] == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("'s3://shop/latest/p.csv'", 1),
        ("f'{root}/latest/p.csv'", 1),
        ("'s3://shop/2026-11-02/p.csv'", 0),
        ("'latest_news.csv'", 0),
    ],
)
def test_paths_that_change(path: str, found: int) -> None:
    assert len(latest_data(program(f"root = 'a'\nrows = pd.read_csv({path})\n{FIT}"))) == found


REFUSED = """
def hold(rows):
    good = []
    for _, row in rows.iterrows():
        try:
            good.append(Row(**row.to_dict()))
        except ValueError:
            {}
    return pd.DataFrame(good)

rows = hold(pd.read_csv('p.csv'))
"""
LINES = """
def load():
    rows = []
    for line in open('p.jsonl'):
        try:
            rows.append(json.loads(line))
        except ValueError:
            {}
    return Dataset.from_list(rows)
"""
ROWS = """
def load_rows():
    try:
        return pd.read_csv('p.csv')
    except OSError:
        return []
rows = load_rows()
"""


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (f"rows = pd.read_csv('p.csv', on_bad_lines='skip')\n{FIT}", ["on_bad_lines='skip'"]),
        (f"rows = pd.read_csv('p.csv', on_bad_lines='error')\n{FIT}", []),
        ("print(pd.read_csv('p.csv', on_bad_lines='skip'))", []),
        (f"{READ}rows['a'] = pd.to_numeric(rows['a'], errors='coerce')\n{FIT}", ["errors='coerce'"]),
        (f"{READ}rows[['a']] = rows[['a']].apply(pd.to_numeric, errors='coerce')\n{FIT}", ["errors='coerce'"]),
        (
            f"{READ}rows = rows.assign(a=lambda rows: pd.to_numeric(rows['a'], errors='coerce'))\n{FIT}",
            ["errors='coerce'"],
        ),
        (f"{READ}rows[['a']] = rows[['a']].apply(pd.to_numeric, errors='raise')\n{FIT}", []),
        (f"{READ}rows['a'] = pd.to_numeric(rows['a'], errors='coerce')\nprint(rows.isna().sum())\n{FIT}", []),
        (LINES.format("continue"), ["except: continue"]),
        (LINES.format("pass"), ["except: pass"]),
        (LINES.format("raise"), []),
        (LINES.format("print(line)"), ["except: pass"]),
        (LINES.format("print(f'{line} is bad')\n            continue"), ["except: continue"]),
        (LINES.format("if rows:\n                print(len(line))"), ["except: pass"]),
        (LINES.format("rows.append(None)"), []),
        (LINES.format("skipped = 1\n            print(skipped)"), []),
        (LINES.format("with open('bad.txt', 'a') as f:\n                f.write(line)"), []),
        (f"{REFUSED.format('continue')}{FIT}", ["except: continue"]),
        (f"{REFUSED.format('raise')}{FIT}", []),
        (f"{REFUSED.format('good.append(None)')}{FIT}", []),
        (f"{REFUSED.format('continue')}print(rows)", []),
        (f"{ROWS}{FIT}", ["except: an empty collection"]),
        (f"{ROWS}print(rows)", []),
        (f"{ROWS}{FIT}".replace("[]", "pd.DataFrame()"), ["except: an empty collection"]),
        (
            f"{READ}promo = pd.to_numeric(rows['a'], errors='coerce').eq(1)\nLinearRegression().fit(promo, rows['b'])",
            [],
        ),
    ],
)
def test_what_vanishes(text: str, how: list[str]) -> None:
    assert [one.how for one in swallowed_errors(program(text))] == how


BATCHES = """
class TextDataLoader:
    def __init__(self, path, tokenizer):
        self.file, self.tokenizer, self.tokens = open(path), tokenizer, []

    def get_batch(self):
        while len(self.tokens) < 64:
            line = self.file.readline()
            try:
                text = json.loads(line)["text"]
            except ValueError:
                {}
            try:
                ids = self.tokenizer(text)
            except ValueError as error:
                print(error)
                continue
            self.tokens.extend(ids)
        return torch.tensor(self.tokens)
"""
ITEM = """
from PIL import Image
class Pairs(torch.utils.data.Dataset):
    def __getitem__(self, number):
        try:
            return Image.open(self.files[number])
        except {}:
            {}
def train(rows):
    LinearRegression().fit(rows)
"""
PAGES = """
def collect(urls, path):
    rows = []
    for url in urls:
        try:
            page = requests.get(url)
            page.raise_for_status()
            rows.append(page.text)
        except requests.RequestException as error:
            {}
    with open(path, "w") as file:
        writer = csv.writer(file)
        for row in rows:
            writer.writerow([row])
def train(rows):
    LinearRegression().fit(rows)
"""


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (BATCHES.format("continue"), ["except: continue", "except: continue"]),
        (BATCHES.format("raise"), ["except: continue"]),
        (ITEM.format("OSError", "return torch.zeros(3)"), ["except: something else"]),
        (ITEM.format("OSError", "print(number)\n            return self[number + 1]"), ["except: something else"]),
        (ITEM.format("IndexError", "return None"), []),
        (ITEM.format("OSError", "self.bad.append(number)\n            return torch.zeros(3)"), []),
        (ITEM.format("OSError", "raise"), []),
        (PAGES.format("print(error)"), ["except: pass"]),
        (PAGES.format("raise"), []),
    ],
)
def test_loaders_that_say_it_and_go_on(text: str, how: list[str]) -> None:
    assert [one.how for one in swallowed_errors(program(text))] == how


@pytest.mark.parametrize(("name", "found"), [("collect_blocks", 1), ("collect_estates", 1), ("collect_logs", 0)])
def test_words_that_hold_another_word(name: str, found: int) -> None:
    text = f"def {name}(file):\n    json.dump(requests.get('http://x.example/a').json(), file)\n"
    assert len(web_data(program(text.replace("file)", "data_file)")))) == found


def test_a_table_that_another_program_has_held_against_a_schema() -> None:
    clean = "def main(path, out):\n    rows = pa.DataFrameSchema({}).validate(pd.read_csv(path))\n    rows.to_csv(out)"
    read = f"import sys\nrows = pd.read_csv(sys.argv[1])\n{FIT}"
    assert trained(read, clean=clean) == [("read_csv", "LinearRegression.fit", True)]
    assert trained(f"{READ}{FIT}", clean=clean) == [("read_csv", "LinearRegression.fit", False)]


def test_what_comes_too_late_or_watches_something_else() -> None:
    late = f"{READ}{FIT}\npa.DataFrameSchema({{}}).validate(rows)\n"
    assert trained(late) == [("read_csv", "LinearRegression.fit", False)]
    early = f"{READ}pa.DataFrameSchema({{}}).validate(rows)\n{FIT}"
    assert trained(early) == [("read_csv", "LinearRegression.fit", True)]
    check = "def check():\n    rows = pd.read_csv('p.csv')\n    if rows['a'].isna().any():\n        raise ValueError\n"
    files = {"train.py": HEAD + f"{READ}{FIT}", "monitoring/drift.py": HEAD + check}
    assert [one.validated for one in data_sources(facts(files))] == [False]
    files = {"train.py": HEAD + f"{READ}{FIT}", "ingest/rows.py": HEAD + check}
    assert [one.validated for one in data_sources(facts(files))] == [True]


def test_a_pipeline_whose_model_a_function_makes() -> None:
    make = "def model():\n    return LinearRegression()\n"
    make += "def build():\n    return Pipeline([('s', StandardScaler()), {}])\n"
    text = f"{make}{READ}build().fit(rows[['a']], rows['b'])"
    assert len(trained(text.replace("{}", "('m', model())"))) == 1
    assert trained(text.replace("{}", "('m', StandardScaler())")) == []


KEPT = """
class Kept:
    def __init__(self):
        self.pipeline = Pipeline([("m", LinearRegression())])
    def load(self):
        self.pipeline = joblib.load("train_data.pkl")["pipeline"]
    def fit(self, rows):
        self.pipeline.fit({})
"""


def test_a_pipeline_that_is_loaded_is_no_data() -> None:
    assert trained(KEPT.format("rows")) == []
    assert [call for call, _, _ in trained(KEPT.format("pd.read_csv('p.csv')"))] == ["read_csv"]


STAGE = f"""
{READ}
rows["a"] = pd.to_numeric(rows["a"], errors="coerce")
rows = rows.dropna()
rows.to_csv(f"{{folder}}/clean.csv")
"""


@pytest.mark.parametrize(
    ("clean", "more", "count"),
    [
        (STAGE, {"learn": f"rows = pd.read_csv('data/clean.csv')\n{FIT}"}, 1),
        (STAGE, {"learn": f"rows = pd.read_csv('data/other.csv')\n{FIT}"}, 0),
        (STAGE, {"show": "print(pd.read_csv('data/clean.csv'))"}, 0),
        (
            STAGE.replace("rows.dropna()", "rows.loc[rows['a'].notna()]"),
            {"learn": f"rows = pd.read_csv('data/clean.csv')\n{FIT}"},
            0,
        ),
        (
            STAGE,
            {
                "features": "pd.read_csv('data/clean.csv').to_csv('data/features.csv')",
                "learn": f"rows = pd.read_csv('data/features.csv')\n{FIT}",
            },
            1,
        ),
    ],
)
def test_what_is_lost_before_a_file_from_which_another_program_learns(
    clean: str, more: dict[str, str], count: int
) -> None:
    assert len(swallowed_errors(program(clean, **more))) == count


PRICES = """
def get_data(day):
    data = requests.get(f"https://api.example/v1/prices/{{day}}").json()
    {}
def job(session, day):
    price = get_data(day)
    session.add(Price(open=price[0], close=price[1]))
{}
"""
TRAINS = "def train(rows):\n    LinearRegression().fit(rows)\n"
FIRST = "return [data['rows'][0]['o'], data['rows'][0]['c']]"
CHOSEN = """for row in data.get('rows'):
        if row['day'] == day:
            found = [row['o'], row['c']]
            break
    return found"""


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        (PRICES.format(FIRST, TRAINS), [True]),
        (PRICES.format(FIRST.replace("['rows']", ".get('rows')"), TRAINS), [True]),
        (PRICES.format("return data.get('row')", TRAINS), [False]),
        (PRICES.format(CHOSEN, TRAINS), [True]),
        (PRICES.format(CHOSEN.replace("== day", "== 'ok'"), TRAINS), []),
        (PRICES.format(FIRST, ""), []),
        (PRICES.format(FIRST, TRAINS).replace("/v1/prices", "/v1/models"), []),
        (PRICES.format(FIRST, TRAINS).replace("get_data", "user"), []),
        (PRICES.format(FIRST, TRAINS).replace("session.add(Price(", "print((").replace("open=", "("), []),
    ],
)
def test_rows_of_a_database_beside_a_program_that_trains(text: str, strict: list[bool]) -> None:
    text = text.replace("print((((price[0], close=price[1]))", "print(price)")
    assert [one.strict for one in web_data(program(text))] == strict


def test_what_a_collector_keeps_and_another_function_writes() -> None:
    collector = """
class Collector:
    def __init__(self):
        self.rows = pd.DataFrame(requests.get("https://api.example/rows").json())
def main():
    collector = Collector()
    collector.rows.to_csv("rows.csv")
"""
    assert [one.kind for one in web_data(program(collector))] == ["table"]
    assert not web_data(program(collector.replace("collector.rows", "collector.other")))


DAYS = """
def fetch_days(day, end):
    rows = []
    while {}:
        try:
            page = requests.{}("https://api.example/rows", data=day)
            page.raise_for_status()
            rows.extend(page.json())
        except {}:
            print(day)
            {}
        {}
    {}
    pd.DataFrame(rows).to_csv("rows.csv")
"""


@pytest.mark.parametrize(
    ("parts", "how"),
    [
        (("day < end", "post", "Exception", "pass", "day = day + 1", ""), ["except: pass"]),
        (("day < end", "get", "Exception", "break", "day = day + 1", ""), ["except: break"]),
        (("day < end", "get", "StopIteration", "break", "day = day + 1", ""), []),
        (("not rows", "get", "Exception", "pass", "print(end)", ""), []),
        (("day < end", "get", "Exception", "raise", "day = day + 1", ""), []),
        (
            (
                "day < end",
                "get",
                "Exception",
                "break",
                "day = day + 1",
                "if len(rows) < 1000:\n        raise ValueError",
            ),
            [],
        ),
        (
            ("day < end", "get", "Exception", "break", "day = day + 1", "if len(rows) == 0:\n        raise ValueError"),
            ["except: break"],
        ),
    ],
)
def test_pages_that_a_loop_loses(parts: tuple[str, ...], how: list[str]) -> None:
    assert [one.how for one in swallowed_errors(program(DAYS.format(*parts)))] == how


ONE = """
def listing(url):
    found = {{"price": None}}
    try:
        page = requests.get(url)
        page.raise_for_status()
        found["price"] = page.text
    except Exception as error:
        {}
    return found
def main(urls):
    rows = []
    {}
        rows.append(listing(url))
    pd.DataFrame(rows).to_csv("rows.csv")
"""
NOTHING = """
def page(url):
    try:
        answer = requests.get(url)
        answer.raise_for_status()
        return answer.text
    except Exception as error:
        print(error)
        return None
def main(urls):
    rows = []
    for url in urls:
        text = page(url)
        if text is None:
            {}
        rows.append(text)
    pd.DataFrame(rows).to_csv("rows.csv")
"""


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (ONE.format("print(error)", "for url in urls:"), ["except: pass"]),
        (ONE.format("raise", "for url in urls:"), []),
        (ONE.format("print(error)", "with open(urls) as url:"), []),
        (NOTHING.format("continue"), ["except: None"]),
        (NOTHING.format("raise ValueError"), []),
        (NOTHING.format("break"), []),
        (NOTHING.format("failed = url"), []),
    ],
)
def test_one_of_many_that_does_not_come(text: str, how: list[str]) -> None:
    assert [one.how for one in swallowed_errors(program(text))] == how


FALLBACK = """
def pages(url):
    rows = []
    try:
        rows.append(requests.get(url).text)
    except requests.RequestException:
        pass
    {}
    return rows
def main(urls):
    pd.DataFrame([pages(url) for url in urls]).to_csv("rows.csv")
"""


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("if not rows:\n        rows = mirror(url)", []),
        ("if not rows:\n        rows = None", ["except: pass"]),
        ("if rows:\n        rows = mirror(url)", ["except: pass"]),
    ],
)
def test_another_way_to_the_same(then: str, how: list[str]) -> None:
    assert [one.how for one in swallowed_errors(program(FALLBACK.format(then) + TRAINS))] == how


GATHERED = """
def load(path):
    return pd.read_csv(path)
def {}(paths):
    tables = []
    for path in paths:
        try:
            tables.append(load(path))
        except Exception as error:
            {}
    return tables
"""


@pytest.mark.parametrize(
    ("name", "does", "trains", "how"),
    [
        ("load_folder", "print(error)", TRAINS, ["except: pass"]),
        ("load_folder", "raise", TRAINS, []),
        ("load_folder", "tables.append(error)", TRAINS, []),
        ("load_folder", "print(error)", "", []),
        ("show_folder", "print(error)", TRAINS, []),
        ("load_summary", "print(error)", TRAINS, []),
    ],
)
def test_tables_that_a_loader_gathers(name: str, does: str, trains: str, how: list[str]) -> None:
    assert [one.how for one in swallowed_errors(program(GATHERED.format(name, does) + trains))] == how


def test_what_a_function_fetches_and_keeps_for_a_loop() -> None:
    kept = """
def device(url):
    page = requests.post(url)
    pd.DataFrame(page.json()).to_csv("device.csv")
def main(urls):
    for url in urls:
        try:
            device(url)
        except Exception as error:
            print(error)
"""
    assert [one.how for one in swallowed_errors(program(kept + TRAINS))] == ["except: pass"]
    assert not swallowed_errors(program(kept))


def test_an_empty_table_in_place_of_one_that_is_trained_on() -> None:
    text = """
def load(path):
    return pd.read_csv(path)
def retrain(old, path):
    try:
        new = load(path)
    except Exception as error:
        print(error)
        new = {}
    train(old if len(new) == 0 else new)
"""
    text += TRAINS
    assert [one.how for one in swallowed_errors(program(text.format("pd.DataFrame()")))] == [
        "except: an empty collection"
    ]
    assert not swallowed_errors(program(text.format("load('other.csv')")))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("rows = rows.fillna(0)\nprint(rows.isna().sum())\n", 1),
        ("print(rows.isna().sum())\nrows = rows.fillna(0)\n", 0),
    ],
)
def test_what_is_counted_after_it_was_filled(text: str, count: int) -> None:
    coerced = f"{READ}rows['a'] = pd.to_numeric(rows['a'], errors='coerce')\n{text}{FIT}"
    assert len(swallowed_errors(program(coerced))) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("FunctionTransformer(dated)", 1),
        ("print(dated)", 0),
        ("class Dated(TransformerMixin):\n    def transform(self, rows):\n        return dated(rows)", 1),
        ("class Dated(Report):\n    def transform(self, rows):\n        return dated(rows)", 0),
    ],
)
def test_what_a_pipeline_prepares_is_learned_from(text: str, count: int) -> None:
    dated = """
from sklearn.base import TransformerMixin
from sklearn.preprocessing import FunctionTransformer
def dated(rows):
    return pd.to_datetime(rows["day"], errors="coerce")
"""
    assert len(swallowed_errors(program(f"{dated}{text}\n{TRAINS}"))) == count


@pytest.mark.parametrize(
    ("fresh", "stale", "count"),
    [
        ("read_sql('SELECT * FROM sales', url)", "pd.read_csv('sales.csv')", 1),
        ("read_csv('sales.csv')", "pd.read_csv('old.csv')", 0),
        ("read_sql('SELECT * FROM sales', url)", "pd.read_sql('SELECT * FROM sales', other)", 0),
        ("read_sql('SELECT * FROM sales', url)", "exit()", 0),
    ],
)
def test_a_file_that_lies_about_in_place_of_the_data_base(fresh: str, stale: str, count: int) -> None:
    text = f"try:\n    rows = pd.{fresh}\nexcept Exception as error:\n    print(error)\n    rows = {stale}\n{FIT}"
    assert len(swallowed_errors(program(text))) == count


@pytest.mark.parametrize(("name", "count"), [("load_rows", 1), ("get_reports", 0), ("get_data_history", 0)])
def test_a_loader_that_nobody_calls_is_one_by_its_name(name: str, count: int) -> None:
    text = f"""
def {name}(paths):
    found = []
    for path in paths:
        try:
            found.append(json.load(open(path)))
        except ValueError:
            pass
    return found
"""
    assert len(swallowed_errors(program(text + TRAINS))) == count
