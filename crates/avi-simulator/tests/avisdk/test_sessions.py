"""Sessions and accounts: login, logout, CSRF, expiry, lock-out, passwords, versions before and after login."""

import re

from avi.sdk.avi_api import APIError

from controller import CA, PASSWORD, TIMEOUT, USERNAME, VERSION, Case, control, http, login

IDLE_TIMEOUT = 15 * 60
LOCK_TIME = 30 * 60
DAY = 24 * 60 * 60


def cookies(reply):
    """Returns the cookies of a login as a client sends them."""
    return {name: reply.cookies[name] for name in ("csrftoken", "avi-sessionid", "sessionid")}


class Login(Case):
    def test_by_password_as_a_form(self):
        details = self.api.get_controller_details()["controller_api_version"]
        self.assertEqual(details["Version"], VERSION)
        self.assertTrue(self.api.connected)
        self.assertEqual(self.api.get("pool").status_code, 200)

    def test_by_password_as_json(self):
        reply = http("POST", "/login", json={"username": USERNAME, "password": PASSWORD})
        self.assertEqual(reply.status_code, 200, reply.text)
        body = reply.json()
        self.assertEqual(body["version"]["Version"], VERSION)
        self.assertEqual(body["session_cookie_name"], "avi-sessionid")
        self.assertEqual(body["user"]["username"], USERNAME)
        self.assertIn("admin", [tenant["name"] for tenant in body["tenants"]])
        self.assertEqual(body["controller"]["api_idle_timeout"], IDLE_TIMEOUT / 60)
        found = {cookie.name: cookie for cookie in reply.cookies}
        self.assertRegex(found["csrftoken"].value, re.compile(r"^\w{32}$"))
        self.assertEqual(found["avi-sessionid"].value, found["sessionid"].value)
        self.assertTrue(all(cookie.secure for cookie in found.values()))
        self.assertEqual(http("GET", "/api/pool", cookies=cookies(reply)).status_code, 200)

    def test_by_token(self):
        reply = self.api.post("user-token", data={"hours": 1})
        self.assertEqual(reply.status_code, 201, reply.text)
        token = reply.json()["token"]
        by_token = login(password=None, token=token)
        self.assertEqual(by_token.get("pool").status_code, 200)
        self.assertLoginRefused(password=None, token=token[:-1] + "?")

    def test_a_wrong_password_is_refused_and_tried_once(self):
        username, password = self.user("mistyped", "Tenant-Admin")
        total, failed = control.logins()
        with self.assertRaises(APIError) as refused:
            login(username, password + "x")
        self.assertIn("Invalid credentials", str(refused.exception))
        self.assertEqual(control.logins(), (total + 1, failed + 1))
        self.assertEqual(login(username, password).get("pool").status_code, 200)
        self.assertLoginRefused(self.name("unknown"), password)

    def test_paths_without_login(self):
        self.assertEqual(http("GET", "/api/initial-data").json()["version"]["Version"], VERSION)
        self.assertIn("cluster_state", http("GET", "/api/cluster/status").json())
        self.assertEqual(http("GET", "/api/pool").status_code, 401)

    def test_the_certificate_is_checked(self):
        import requests

        with self.assertRaises(requests.exceptions.SSLError):
            requests.get(self.api.prefix + "/api/initial-data", verify=True, timeout=TIMEOUT)
        self.assertEqual(self.api.verify, CA)


class Csrf(Case):
    def setUp(self):
        super().setUp()
        self.cookies = cookies(http("POST", "/login", json={"username": USERNAME, "password": PASSWORD}))
        self.headers = {"X-CSRFToken": self.cookies["csrftoken"], "Referer": self.api.prefix}

    def post(self, name, headers):
        return http("POST", "/api/pool", json={"name": name}, cookies=self.cookies, headers=headers)

    def test_a_write_without_token_or_referer_is_refused(self):
        name = self.name("csrf")
        for missing, headers in (
            ("token", {"Referer": self.headers["Referer"]}),
            ("right token", {**self.headers, "X-CSRFToken": "0" * 32}),
        ):
            with self.subTest(missing=missing):
                reply = self.post(name, headers)
                self.assertEqual(reply.status_code, 401)
                self.assertEqual(reply.text, "CSRF token missing or incorrect.")
                self.assertIn("application/json", reply.headers["Content-Type"])
        self.assertGreaterEqual(self.post(name, {"X-CSRFToken": self.headers["X-CSRFToken"]}).status_code, 400)
        self.assertIsNone(self.api.get_object_by_name("pool", name), "the refused write had an effect")
        self.assertEqual(self.post(name, self.headers).status_code, 201)

    def test_a_read_needs_neither_token_nor_referer(self):
        self.assertEqual(http("GET", "/api/pool", cookies=self.cookies).status_code, 200)

    def test_repeated_cookies_and_slashes_are_accepted(self):
        pairs = ["%s=%s" % pair for pair in self.cookies.items()]
        headers = {"Cookie": "; ".join(pairs + pairs)}
        for path in ("/api/pool", "//api/pool", "/api/pool/", "/api/pool/?name=none"):
            with self.subTest(path=path):
                self.assertEqual(http("GET", path, headers=headers).status_code, 200)


class Expiry(Case):
    """avisdk logs in again after expiry; the simulator counts the logins."""

    def assertLogsInOnce(self, act):
        total, failed = control.logins()
        self.assertEqual(act().status_code, 200)
        self.assertEqual(control.logins(), (total + 1, failed))
        self.assertEqual(self.api.get("pool").status_code, 200)
        self.assertEqual(control.logins(), (total + 1, failed), "the new session is not used")

    def test_an_ended_session_costs_one_login(self):
        control.expire_sessions()
        self.assertLogsInOnce(lambda: self.api.get("pool"))

    def test_a_write_after_expiry_is_carried_out_once(self):
        pool = self.create("pool", "late", default_server_port=1)
        control.expire_sessions()
        pool["default_server_port"] = 2
        self.assertLogsInOnce(lambda: self.api.put("pool/" + pool["uuid"], data=pool))
        self.assertEqual(self.read("pool", pool["uuid"])["default_server_port"], 2)

    def test_an_idle_session_ends(self):
        total, _ = control.logins()
        for _ in range(2):
            control.advance_clock(IDLE_TIMEOUT * 2 // 3)
            self.assertEqual(self.api.get("pool").status_code, 200)
        self.assertEqual(control.logins()[0], total, "the session was used in time")
        control.advance_clock(IDLE_TIMEOUT + 1)
        self.assertLogsInOnce(lambda: self.api.get("pool"))

    def test_logout_ends_the_session(self):
        reply = http("POST", "/login", json={"username": USERNAME, "password": PASSWORD})
        before = cookies(reply)
        headers = {"X-CSRFToken": before["csrftoken"], "Referer": self.api.prefix}
        self.assertEqual(http("POST", "/logout", cookies=before, headers=headers).status_code, 200)
        self.assertEqual(http("GET", "/api/pool", cookies=before).status_code, 401)

    def test_logout_by_avisdk(self):
        self.assertEqual(self.api.post("logout").status_code, 200)
        self.assertLogsInOnce(lambda: self.api.get("pool"))

    def test_a_cut_connection_costs_one_login(self):
        self.addCleanup(control.clear_faults)
        control.fault("cut_before", method="GET", path="/api/pool", times=1)
        self.assertLogsInOnce(lambda: self.api.get("pool"))


class Accounts(Case):
    def profile(self, name, **fields):
        return self.create("useraccountprofile", name, **fields)["url"].split("#")[0]

    def test_three_wrong_passwords_lock_the_account(self):
        username, password = self.user("locked", "Tenant-Admin")
        for _ in range(3):
            self.assertLoginRefused(username, "wrong")
        self.assertLoginRefused(username, password)
        control.advance_clock(LOCK_TIME + 1)
        self.assertEqual(login(username, password).get("pool").status_code, 200)

    def test_passwords_are_never_shown(self):
        username, password = self.user("discreet", "Tenant-Admin")
        found = self.api.get("user", params={"name": username})
        self.assertEqual(found.json()["count"], 1)
        self.assertNotIn(password, found.text)

    def test_users_change_their_own_password(self):
        username, old = self.user("changing", "Tenant-Admin")
        own, new = login(username, old), "Another-Secret-2"
        body = {"username": username, "old_password": "wrong", "password": new}
        self.assertRefused(own.put("useraccount", data=body), 400)
        body["old_password"] = old
        reply = own.put("useraccount", data=body)
        self.assertEqual((reply.status_code, reply.text), (200, ""))
        self.assertLoginRefused(username, old)
        own = login(username, new)
        body = {"username": username, "old_password": new, "password": old}
        self.assertRefused(own.put("useraccount", data=body), 400)

    def test_the_administrator_sets_a_password(self):
        username, old = self.user("helped", "Tenant-Admin")
        user = self.api.get_object_by_name("user", username)
        user["password"] = "Given-Secret-3"
        reply = self.api.put("user/" + user["uuid"], data=user)
        self.assertEqual(reply.status_code, 200, reply.text)
        self.assertNotIn("Given-Secret-3", reply.text)
        self.assertLoginRefused(username, old)
        self.assertEqual(login(username, "Given-Secret-3").get("pool").status_code, 200)

    def test_an_expired_password_can_only_be_changed(self):
        profile = self.profile("short-lived", credentials_timeout_threshold=1)
        username, old = self.user("aged", "Tenant-Admin", user_profile_ref=profile)
        self.assertEqual(login(username, old).get("pool").status_code, 200)
        control.advance_clock(2 * DAY)
        own = login(username, old)
        self.assertGreaterEqual(own.get("pool").status_code, 400)
        body = {"username": username, "old_password": old, "password": "Fresh-Secret-4"}
        self.assertEqual(own.put("useraccount", data=body).status_code, 200)
        self.assertEqual(login(username, "Fresh-Secret-4").get("pool").status_code, 200)

    def test_concurrent_sessions_can_be_limited(self):
        profile = self.profile("single", max_concurrent_sessions=1)
        username, password = self.user("single", "Tenant-Admin", user_profile_ref=profile)
        first = login(username, password)
        self.assertLoginRefused(username, password)
        self.assertEqual(first.get("pool").status_code, 200)
