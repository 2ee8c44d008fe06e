"""The controls of web servers and databases, on hosts that have them: broken and seen, mended and passed.

Their roles come later: what a well-kept server looks like is set up here by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsctl import lab
from opsctl.model.finding import CheckResult
from tests.integration import judged, offered
from tests.integration.control_case import Case, edited
from tests.integration.footprint import nothing_changes
from tests.integration.ground import Ground, ground
from tests.integration.judged import by_control, every, told

pytestmark = pytest.mark.lab

WEB, DATABASE, MARIADB = "ange-web1", "ange-db1", "ange-file1"
NAME = "www.ange.example"
# A certificate authority of its own, which the host believes, and a site that speaks TLS as it should.
SITE = f"""\
set -e
mkdir -p /etc/ssl/site; cd /etc/ssl/site; umask 077
ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $ec -days 400 -subj '/CN=A test' -keyout ca.key -out ca.crt
printf 'subjectAltName=DNS:{NAME}\\n' > names
make() {{
  openssl req $ec -subj /CN={NAME} -keyout site.key -out site.csr
  openssl x509 -req -in site.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -days $1 -out $2
}}
make 90 site.crt; cp site.key good.key; make 10 short.crt; cp site.key short.key; cp good.key site.key
cp ca.crt /usr/local/share/ca-certificates/a-test.crt; update-ca-certificates
sed -i 's/ssl_protocols .*/ssl_protocols TLSv1.2 TLSv1.3;/' /etc/nginx/nginx.conf
cat > /etc/nginx/sites-enabled/default <<'END'
server {{
    listen 80 default_server;
    server_name {NAME};
    return 301 https://$host$request_uri;
}}
server {{
    listen 443 ssl;
    server_name {NAME};
    ssl_certificate /etc/ssl/site/site.crt;
    ssl_certificate_key /etc/ssl/site/site.key;
    add_header Strict-Transport-Security "max-age=31536000";
    root /var/www/html;
}}
END
nginx -t && systemctl reload nginx
"""
CONF, HBA = "/etc/postgresql/15/main/conf.d/lab.conf", "/etc/postgresql/15/main/pg_hba.conf"
NGINX = "/etc/nginx/sites-enabled/default"
DATA = "/var/lib/postgresql/15/main"
# What answers afterwards has the new settings.
# reset-failed clears the count of starts too: systemd refuses the sixth within 10 s, and a run takes less than two.
RESTART = "systemctl reset-failed nginx; systemctl restart nginx"
_LOADED = "$(cd / && runuser -u postgres -- psql -XAtc 'select pg_conf_load_time()')"
LOAD = f't="{_LOADED}"; systemctl reload postgresql; until [ "{_LOADED}" != "$t" ]; do sleep 0.1; done'


WEB_CASES = (
    Case(
        control="WEB-01",
        broken="cp -p /etc/nginx/nginx.conf /root/kept; "
        "sed -i 's/ssl_protocols .*/ssl_protocols TLSv1.1 TLSv1.2;/' /etc/nginx/nginx.conf; "
        f"sed -i 's/server_name {NAME};/& ssl_ciphers ALL:@SECLEVEL=0;/' {NGINX}; {RESTART}",
        mended=f"cp -p /root/kept /etc/nginx/nginx.conf; sed -i 's/ ssl_ciphers ALL:@SECLEVEL=0;//' {NGINX}; {RESTART}",
        observed="a TLSv1.1 handshake succeeds",
    ),
    edited("WEB-02", NGINX, "s#site/site#site/short#", f"{NAME}: 0 (ok), 10 days left", RESTART),
    Case(
        control="WEB-03",
        broken="chmod 0644 /etc/ssl/site/site.key",
        mended="chmod 0600 /etc/ssl/site/site.key",
        observed="open: /etc/ssl/site/site.key root 644",
    ),
    edited("WEB-04", NGINX, "s/return 301.*/root \\/var\\/www\\/html;/", f"{NAME}: http answers 200", RESTART),
)
DATABASE_CASES = (
    edited(
        "DB-01", CONF, "s/listen_addresses.*/listen_addresses = \\x27*\\x27/", "listens on *",
        "systemctl reset-failed 'postgresql*'; systemctl restart postgresql",
    ),
    edited("DB-02", HBA, "$ahost all all 127.0.0.1/32 trust", "host all 127.0.0.1 trust", LOAD),
    edited("DB-03", CONF, "$apassword_encryption = md5", "password_encryption md5", LOAD),
    edited("DB-04", CONF, "$assl = off", "ssl off", LOAD),
    Case(
        control="DB-05",
        broken=f"chmod 0725 {DATA}",
        mended=f"chmod 0700 {DATA}",
        observed=f"{DATA} postgres 725",
    ),
)  # fmt: skip

MARIADB_CONF = "/etc/mysql/mariadb.conf.d/99-lab.cnf"
# An account without a password that nobody can log in to is none; Debian's own `mariadb.sys` is another.
MARIADB_SERVER = f"""\
set -e
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Options::=--force-unsafe-io \\
  install mariadb-server >/dev/null 2>&1
printf '[mariadbd]\\nbind-address = 127.0.0.1\\nrequire_secure_transport = ON\\n' > {MARIADB_CONF}
chmod 0750 /var/lib/mysql
systemctl restart mariadb
mariadb -e "create user vilande@localhost account lock; create user app@'%' identified by 'made up for a test'"
"""
MARIADB_CASES = (
    edited(
        "DB-01", MARIADB_CONF, "s/bind-address.*/bind-address = 0.0.0.0/", "MariaDB listens on 0.0.0.0",
        "systemctl reset-failed mariadb; systemctl restart mariadb",
    ),
    Case(
        control="DB-02",
        broken="mariadb -e \"create user gast@'%'\"",
        mended="mariadb -e \"drop user gast@'%'\"",
        observed="without a password: gast@%",
    ),
    Case(
        control="DB-04",
        broken="mariadb -e 'set global require_secure_transport = off'",
        mended="mariadb -e 'set global require_secure_transport = on'",
        observed="require_secure_transport 0",
    ),
    Case(
        control="DB-05",
        broken="chmod 0755 /var/lib/mysql",
        mended="chmod 0750 /var/lib/mysql",
        observed="/var/lib/mysql/ mysql 755",
    ),
)  # fmt: skip
# What the servers write of everybody who speaks to them; the last is where PostgreSQL counts (its shared memory).
LOGS = {WEB: ("/var/log/nginx",), DATABASE: ("/var/log/postgresql", "/dev/shm"), MARIADB: ()}
# At any moment PostgreSQL notes in its write-ahead log where it stands, and tidies up. What a query of ours makes it
# write is still written: by the process that answers, and by the log's own writer.
OWN_WORK = {DATABASE: "^postgres: .*(background writer|checkpointer|autovacuum launcher)"}
# Each control once: MariaDB's are PostgreSQL's.
CASES = (*WEB_CASES, *DATABASE_CASES)
SERVERS = {WEB: WEB_CASES, DATABASE: DATABASE_CASES, MARIADB: MARIADB_CASES}
each_server = pytest.mark.parametrize(("name", "cases"), SERVERS.items(), ids=["web", "database", "mariadb"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("web"), lab.only(lab.demo(), [*SERVERS])) as found:
        found.inside(WEB, SITE)
        address = found.host(DATABASE).address
        found.inside(DATABASE, f"sed -i \"s/listen_addresses.*/listen_addresses = 'localhost,{address}'/\" {CONF}")
        found.inside(DATABASE, "systemctl restart postgresql")
        offered.offer(found.fleet.name, "mariadb-server")
        found.inside(MARIADB, MARIADB_SERVER)
        yield found


def judge(place: Ground, name: str, *controls: str) -> dict[str, CheckResult]:
    return by_control(judged.judge(place, *controls, host=name, profile=every()))


@each_server
def test_a_well_kept_server_passes(place: Ground, name: str, cases: tuple[Case, ...]) -> None:
    assert told(judge(place, name, *(case.control for case in cases))) == {}


@each_server
def test_looking_at_a_server_changes_nothing_on_it(place: Ground, name: str, cases: tuple[Case, ...]) -> None:
    controls = [case.control for case in cases]
    judge(place, name, *controls)
    with nothing_changes(place, name, logs=LOGS[name], own_work=OWN_WORK.get(name, "")):
        judge(place, name, *controls)


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, cases in SERVERS.items() for case in cases],
    ids=lambda value: value.control if isinstance(value, Case) else value,
)
def test_a_broken_setting_fails_its_own_control_and_no_other(place: Ground, name: str, case: Case) -> None:
    every = [one.control for one in SERVERS[name]]
    place.inside(name, case.broken)
    try:
        broken = judge(place, name, *every)
    finally:
        place.inside(name, case.mended)
    assert set(told(broken)) == {case.control}, told(broken)
    assert (broken[case.control].result, case.observed in broken[case.control].observed) == ("fail", True), told(broken)
    assert told(judge(place, name, case.control)) == {}


def test_a_host_without_web_server_or_database_is_not_judged_by_them(place: Ground) -> None:
    controls = [case.control for case in (*WEB_CASES, *DATABASE_CASES)]
    results = judge(place, "ange-lb1", *controls)
    assert {result.result for result in results.values()} == {"notapplicable"}
    assert all("is installed" in result.reason for result in results.values())


def test_a_control_about_postgresql_alone_does_not_apply_to_mariadb(place: Ground) -> None:
    (result,) = judge(place, MARIADB, "DB-03").values()
    assert (result.result, result.reason) == (
        "notapplicable", "this control is about PostgreSQL, and the host has MariaDB"
    )  # fmt: skip
