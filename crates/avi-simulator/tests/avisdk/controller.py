"""The controller under test: where it is, sessions on it, and the hand behind the curtain.

Owns how the suite reaches the controller; what is asked of it stands in the test_*.py. Everything comes from the
environment, the password too: arguments are seen by every user of the machine.

AVI_URL       https://host:port of the controller
AVI_CA_FILE   PEM file of the authority that signed its certificate
AVI_CONTROL   http://host:port of the simulator's control API
AVI_USERNAME, AVI_PASSWORD   an account that may do everything
"""

import logging
import os
import unittest
import uuid
from urllib.parse import urlparse

# avisdk leaves `verify` to requests after the login, and requests prefers these to it. A proxy has no business
# between us and a controller on this machine.
for _name in list(os.environ):
    if _name.upper() in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") or _name.upper().endswith("_PROXY"):
        del os.environ[_name]

logging.getLogger("avi.sdk").setLevel(logging.CRITICAL)

import requests  # noqa: E402  (after the environment is clean)
from avi.sdk.avi_api import APIError, ApiSession, ObjectNotFound  # noqa: E402

URL = os.environ["AVI_URL"]
CA = os.environ["AVI_CA_FILE"]
CONTROL = os.environ["AVI_CONTROL"]
USERNAME = os.environ["AVI_USERNAME"]
PASSWORD = os.environ["AVI_PASSWORD"]

VERSION = "30.2.1"
# The last field names of networks and IPAM profiles before 20.1.3.
OLD_VERSION = "20.1.2"
# So long that only what hangs takes longer, on whatever machine.
TIMEOUT = 120


def login(username=USERNAME, password=PASSWORD, **options):
    """A session of avisdk's; it always logs in."""
    address = urlparse(URL)
    options = {"api_version": VERSION, "tenant": "admin", "verify": CA, "timeout": TIMEOUT, **options}
    return ApiSession(address.hostname, username, password, port=address.port, **options)


def http(method, path, **options):
    """A request without avisdk, for what it hides."""
    return requests.request(method, URL + path, verify=CA, timeout=TIMEOUT, **options)


class Control:
    """The simulator's control API."""

    @staticmethod
    def _ask(method, path, **options):
        reply = requests.request(method, CONTROL + path, timeout=TIMEOUT, **options)
        if reply.status_code >= 300:
            raise AssertionError("control API: %s %s: %s %s" % (method, path, reply.status_code, reply.text))
        return reply.json() if reply.text else None

    def seed(self, objects):
        """Adds objects: a dictionary of kinds to lists of bodies."""
        self._ask("POST", "/seed", json=objects)

    def logins(self):
        """How often POST /login was called, and how often it was refused."""
        logins = self._ask("GET", "/logins")
        return logins["total"], logins["failed"]

    def asked(self, method, path):
        """How often clients asked for this; uuids in the path are {uuid}."""
        counters = self._ask("GET", "/counters")
        return sum(entry["count"] for entry in counters if (entry["method"], entry["path"]) == (method, path))

    def check(self):
        """What is wrong with the configuration."""
        return self._ask("GET", "/check")

    def expire_sessions(self):
        self._ask("POST", "/expire-sessions")

    def upgrade_mode(self, on):
        self._ask("PUT", "/upgrade", json=on)

    def advance_clock(self, seconds):
        self._ask("POST", "/clock", json=seconds)

    def fault(self, what, **where):
        self._ask("POST", "/faults", json={"what": what, **where})

    def clear_faults(self):
        self._ask("DELETE", "/faults")


control = Control()


class Case(unittest.TestCase):
    """A test with a session of the administrator: `self.api`."""

    def setUp(self):
        # avisdk keeps sessions by account, for the whole process.
        ApiSession.clear_cached_sessions()
        self.api = login()
        self.suffix = uuid.uuid4().hex[:8]

    def name(self, what):
        """A name that no other test and no other run uses."""
        return "%s-%s" % (what, self.suffix)

    def create(self, kind, name, tenant="", **fields):
        """Makes an object that must be taken; its representation."""
        body = {"name": self.name(name), **fields}
        reply = self.api.post(kind, data=body, tenant=tenant)
        self.assertEqual(reply.status_code, 201, reply.text)
        return reply.json()

    def read(self, kind, uuid, **options):
        reply = self.api.get("%s/%s" % (kind, uuid), **options)
        self.assertEqual(reply.status_code, 200, reply.text)
        return reply.json()

    def names(self, kind, tenant="", **params):
        """The names that a list with these parameters has, in its order."""
        found = self.api.get_objects_iter(kind, tenant=tenant, params=params)
        return [entry["name"] for entry in found]

    def assertRefused(self, reply, status, text=""):
        """avisdk gives the reply of a refusal back and raises only when its body is asked for."""
        self.assertEqual(reply.status_code, status, reply.text)
        self.assertIn(text, reply.text)
        with self.assertRaises((APIError, ObjectNotFound)):
            reply.json()

    def user(self, name, role, tenant="admin", **fields):
        """Makes an account with that role in that tenant; its username and password."""
        username, password = self.name(name), "Secret-%s-1" % uuid.uuid4().hex
        body = {"username": username, "password": password, **fields}
        access = {"role_ref": "/api/role/?name=%s" % role, "tenant_ref": "/api/tenant/?name=%s" % tenant}
        self.create("user", name, access=[access], default_tenant_ref=access["tenant_ref"], **body)
        return username, password

    def assertLoginRefused(self, *arguments, **options):
        with self.assertRaises(APIError) as refused:
            login(*arguments, **options)
        self.assertEqual(refused.exception.rsp.status_code, 401)
