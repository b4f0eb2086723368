"""Objects: create, read, replace, patch and delete of every kind; locks, references, versions, upgrades."""

import json
import uuid

from avi.sdk.avi_api import APIError, AviServerError, ObjectNotFound

from controller import OLD_VERSION, VERSION, Case, control, login

CLOUD = {"cloud_ref": "/api/cloud/?name=Default-Cloud"}
ADDRESS = {"addr": "10.1.2.3", "type": "V4"}
PRIVILEGE = {"resource": "PERMISSION_POOL", "type": "READ_ACCESS"}
ACCESS = {"role_ref": "/api/role/?name=Tenant-Admin", "tenant_ref": "/api/tenant/?name=admin"}

# Kind, the fields it requires in addition to a name, and a field to change.
KINDS = (
    ("cloud", {"vtype": "CLOUD_NONE", "dhcp_enabled": False}, ("dhcp_enabled", True)),
    ("network", {**CLOUD, "dhcp_enabled": False}, ("dhcp_enabled", True)),
    ("ipamdnsproviderprofile", {"type": "IPAMDNS_TYPE_INTERNAL"}, ("allocate_ip_in_vrf", True)),
    ("serviceenginegroup", CLOUD, ("max_se", 4)),
    ("tenant", {"local": True}, ("description", "changed")),
    ("role", {"privileges": [PRIVILEGE]}, ("allow_unlabelled_access", False)),
    ("user", {"password": "Secret-Enough-1", "access": [ACCESS]}, ("full_name", "changed")),
    ("vrfcontext", CLOUD, ("description", "changed")),
    ("pool", {**CLOUD, "default_server_port": 80}, ("default_server_port", 8080)),
    ("vsvip", {**CLOUD, "vip": [{"vip_id": "1", "ip_address": ADDRESS}]}, ("east_west_placement", True)),
    ("virtualservice", {**CLOUD, "services": [{"port": 80}]}, ("enabled", False)),
)


class EveryKind(Case):
    def test_create_read_replace_patch_delete(self):
        faults = control.check()
        for kind, fields, change in KINDS:
            with self.subTest(kind=kind):
                if kind == "user":
                    fields = {**fields, "username": self.name(kind)}
                self.run_lifecycle(kind, fields, change)
        self.assertEqual(control.check(), faults)

    def run_lifecycle(self, kind, fields, change):
        field, value = change
        name = self.name(kind)
        reply = self.api.post(kind, data={"name": name, **fields})
        self.assertEqual(reply.status_code, 201, reply.text)
        created = reply.json()
        where = "%s/%s" % (kind, created["uuid"])
        self.assertEqual(reply.headers["Location"], "%s/api/%s" % (self.api.prefix, where))
        self.assertEqual(created["url"].split("#")[0], reply.headers["Location"])
        self.assertTrue(created["uuid"].startswith(kind + "-"), created["uuid"])
        self.assertRegex(created["_last_modified"], r"^\d{16}$")

        self.assertEqual(self.api.get(where).json()["name"], name)
        by_name = self.api.get_object_by_name(kind, name)
        self.assertEqual(by_name["uuid"], created["uuid"])
        self.assertEqual(self.names(kind, **{"name.contains": name}), [name])

        by_name[field] = value
        reply = self.api.put(where, data=by_name)
        self.assertEqual(reply.status_code, 200, reply.text)
        self.assertEqual(reply.json()[field], value)
        self.assertGreater(reply.json()["_last_modified"], created["_last_modified"])

        renamed = name + "-renamed"
        # A user is found by either name.
        names = ("name", "username") if kind == "user" else ("name",)
        reply = self.api.patch(where, data={"replace": dict.fromkeys(names, renamed)})
        self.assertEqual(reply.status_code, 200, reply.text)
        now = self.api.get(where).json()
        self.assertEqual((now["name"], now[field]), (renamed, value))
        self.assertIsNone(self.api.get_object_by_name(kind, name))

        reply = self.api.delete(where)
        self.assertEqual((reply.status_code, reply.text), (204, ""))
        with self.assertRaises(ObjectNotFound) as gone:
            self.api.get(where).json()
        self.assertIn("object not found!", str(gone.exception))
        self.assertEqual(self.api.delete(where).status_code, 404)
        with self.assertRaises(ObjectNotFound):
            self.api.delete_by_name(kind, renamed)

    def test_missing_fields_and_unknown_refs_are_refused(self):
        for kind, fields in (("pool", {}), ("cloud", {"name": self.name("cloud")})):
            with self.subTest(kind=kind):
                self.assertRefused(self.api.post(kind, data=fields), 400)
        body = {"name": self.name("astray"), "cloud_ref": "/api/cloud/cloud-" + str(uuid.uuid4())}
        self.assertGreaterEqual(self.api.post("pool", data=body).status_code, 400)
        self.assertIsNone(self.api.get_object_by_name("pool", body["name"]))

    def test_methods_that_a_path_lacks(self):
        reply = self.api.delete("systemconfiguration")
        self.assertRefused(reply, 405, "Method 'DELETE' not allowed.")
        self.assertEqual(list(json.loads(reply.text)), ["detail"])

    def test_unknown_fields_are_kept(self):
        pool = self.create("pool", "extra", markers=[{"key": "clustername", "values": ["c1"]}])
        self.assertEqual(self.read("pool", pool["uuid"])["markers"][0]["values"], ["c1"])


class Writing(Case):
    def test_put_replaces(self):
        pool = self.create("pool", "whole", description="to be gone", default_server_port=1)
        body = {"name": pool["name"], "default_server_port": 2}
        reply = self.api.put("pool/" + pool["uuid"], data=body)
        self.assertEqual(reply.status_code, 200, reply.text)
        now = self.read("pool", pool["uuid"])
        self.assertEqual(now["default_server_port"], 2)
        self.assertNotIn("description", now)
        self.assertEqual(now["uuid"], pool["uuid"])

    def test_a_stale_put_is_refused(self):
        pool = self.create("pool", "raced", default_server_port=1)
        where = "pool/" + pool["uuid"]
        mine, theirs = self.api.get(where).json(), self.api.get(where).json()
        theirs["default_server_port"] = 2
        self.assertEqual(self.api.put(where, data=theirs).status_code, 200)
        mine["default_server_port"] = 3
        reply = self.api.put(where, data=mine)
        self.assertEqual(reply.status_code, 412, reply.text)
        with self.assertRaises(APIError) as stale:
            reply.json()
        self.assertIn("Concurrent Update Error", str(stale.exception))
        self.assertEqual(self.api.get(where).json()["default_server_port"], 2)
        mine["_last_modified"] = self.api.get(where).json()["_last_modified"]
        self.assertEqual(self.api.put(where, data=mine).status_code, 200)

    def test_names_are_unique(self):
        pool = self.create("pool", "twice")
        self.assertRefused(self.api.post("pool", data={"name": pool["name"]}), 409, "already exists")
        other = self.create("pool", "other")
        reply = self.api.patch("pool/" + other["uuid"], data={"replace": {"name": pool["name"]}})
        self.assertRefused(reply, 409, "already exists")
        self.create("vrfcontext", "twice", **CLOUD)

    def test_slug_sets_the_uuid(self):
        wanted = "pool-%s" % uuid.uuid4()
        body = {"name": self.name("slug")}
        reply = self.api.post("pool", data=body, force_uuid=wanted)
        self.assertEqual(reply.status_code, 201, reply.text)
        self.assertEqual(reply.json()["uuid"], wanted)
        self.assertEqual(self.read("pool", wanted)["name"], body["name"])
        body["name"] += "-2"
        self.assertRefused(self.api.post("pool", data=body, force_uuid=wanted), 409)

    def test_objects_with_referrers_cannot_be_deleted(self):
        pool = self.create("pool", "needed")
        service = self.create(
            "virtualservice", "needing", services=[{"port": 80}], pool_ref=pool["url"].split("#")[0], **CLOUD
        )
        reply = self.api.delete("pool/" + pool["uuid"])
        self.assertGreaterEqual(reply.status_code, 400, "a pool in use was deleted")
        self.assertIn(service["name"], reply.text, "the error names the referrer")
        self.assertEqual(self.read("pool", pool["uuid"])["name"], pool["name"])
        self.assertEqual(self.api.delete("virtualservice/" + service["uuid"]).status_code, 204)
        self.assertEqual(self.api.delete("pool/" + pool["uuid"]).status_code, 204)

    def test_writes_are_refused_during_an_upgrade(self):
        pool = self.create("pool", "upgraded")
        self.addCleanup(control.upgrade_mode, False)
        control.upgrade_mode(True)
        for reply in (
            self.api.post("pool", data={"name": self.name("new")}),
            self.api.put("pool/" + pool["uuid"], data=pool),
            self.api.delete("pool/" + pool["uuid"]),
        ):
            self.assertRefused(reply, 403, "Configuration is disallowed during upgrade")
        self.read("pool", pool["uuid"])
        control.upgrade_mode(False)
        self.assertEqual(self.api.delete("pool/" + pool["uuid"]).status_code, 204)

    def test_server_errors_raise_their_own_type(self):
        self.addCleanup(control.clear_faults)
        control.fault({"status": {"code": 503}}, path="/api/pool", times=2)
        with self.assertRaises(AviServerError):
            self.api.get("pool").json()
        with self.assertRaises(AviServerError):
            self.api.get_object_by_name("pool", "any")
        self.assertEqual(self.api.get("pool").status_code, 200)


def server(last, **fields):
    return {"ip": {"addr": "10.0.0.%d" % last, "type": "V4"}, **fields}


class Patching(Case):
    def setUp(self):
        super().setUp()
        pool = self.create("pool", "patched", default_server_port=80, servers=[server(1), server(2)])
        self.where = "pool/" + pool["uuid"]

    def patch(self, **operations):
        reply = self.api.patch(self.where, data=operations)
        self.assertEqual(reply.status_code, 200, reply.text)
        now = self.api.get(self.where).json()
        self.addresses = [entry["ip"]["addr"] for entry in now.get("servers", [])]
        return now

    def test_add_appends(self):
        self.patch(add={"servers": [server(3)]})
        self.assertEqual(self.addresses, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])

    def test_add_sets_other_fields(self):
        now = self.patch(add={"default_server_port": 81, "description": "new"})
        self.assertEqual((now["default_server_port"], now["description"]), (81, "new"))
        self.assertEqual(self.addresses, ["10.0.0.1", "10.0.0.2"])

    def test_replace_replaces(self):
        now = self.patch(replace={"servers": [server(9)], "default_server_port": 82})
        self.assertEqual((self.addresses, now["default_server_port"]), (["10.0.0.9"], 82))

    def test_delete_removes_matching_elements(self):
        self.patch(delete={"servers": [server(1)]})
        self.assertEqual(self.addresses, ["10.0.0.2"])

    def test_json_patch(self):
        operations = [
            {"op": "replace", "path": "/default_server_port", "value": 83},
            {"op": "add", "path": "/servers/-", "value": server(4)},
            {"op": "remove", "path": "/servers/0"},
        ]
        now = self.patch(json_patch=operations)
        self.assertEqual((self.addresses, now["default_server_port"]), (["10.0.0.2", "10.0.0.4"], 83))

    def test_a_patch_makes_an_older_copy_stale(self):
        old = self.api.get(self.where).json()
        self.patch(add={"description": "newer"})
        self.assertEqual(self.api.put(self.where, data=old).status_code, 412)


def subnet(**ranges):
    prefix = {"ip_addr": {"addr": "10.9.0.0", "type": "V4"}, "mask": 24}
    return {"prefix": prefix, **ranges}


BEGIN, END = {"addr": "10.9.0.10", "type": "V4"}, {"addr": "10.9.0.20", "type": "V4"}
NEW_RANGE = {"range": {"begin": BEGIN, "end": END}, "type": "STATIC_IPS_FOR_VIP"}
OLD_RANGE = {"begin": BEGIN, "end": END}


class Versions(Case):
    def network(self, name, version, **ranges):
        body = {"name": self.name(name), "configured_subnets": [subnet(**ranges)], **CLOUD}
        reply = self.api.post("network", data=body, api_version=version)
        self.assertEqual(reply.status_code, 201, reply.text)
        return reply.json()

    def subnet_of(self, uuid, version):
        reply = self.api.get("network/" + uuid, api_version=version)
        self.assertEqual(reply.headers["AVI_API_VERSION"], version)
        return reply.json()["configured_subnets"][0]

    def test_ranges_of_networks(self):
        for name, version, ranges in (
            ("new", VERSION, {"static_ip_ranges": [NEW_RANGE]}),
            ("old", OLD_VERSION, {"static_ranges": [OLD_RANGE]}),
        ):
            with self.subTest(written_as=version):
                network = self.network(name, version, **ranges)
                new = self.subnet_of(network["uuid"], VERSION)
                self.assertNotIn("static_ranges", new)
                self.assertEqual(new["static_ip_ranges"][0]["range"], NEW_RANGE["range"])
                old = self.subnet_of(network["uuid"], OLD_VERSION)
                self.assertNotIn("static_ip_ranges", old)
                self.assertEqual(old["static_ranges"], [OLD_RANGE])

    def test_usable_networks_of_profiles(self):
        network = self.network("usable", VERSION)
        ref = network["url"].split("#")[0]
        body = {"type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_networks": [{"nw_ref": ref}]}}
        profile = self.create("ipamdnsproviderprofile", "usable", **body)
        where = "ipamdnsproviderprofile/" + profile["uuid"]
        new = self.api.get(where).json()["internal_profile"]
        self.assertEqual([entry["nw_ref"] for entry in new["usable_networks"]], [ref])
        self.assertNotIn("usable_network_refs", new)
        old = self.api.get(where, api_version=OLD_VERSION).json()["internal_profile"]
        self.assertEqual(old["usable_network_refs"], [ref])
        self.assertNotIn("usable_networks", old)
        self.assertGreaterEqual(self.api.delete("network/" + network["uuid"]).status_code, 400)

    def test_without_a_version_the_oldest_shape_is_used(self):
        network = self.network("unstated", VERSION, static_ip_ranges=[NEW_RANGE])
        reply = login(api_version=None).get("network/" + network["uuid"])
        self.assertIn("static_ranges", reply.json()["configured_subnets"][0])

    def test_a_version_above_the_controllers_is_refused(self):
        with self.assertRaises(AviServerError) as refused:
            self.api.get_object_by_name("pool", "any", api_version="99.1.1")
        self.assertIn("Invalid version", str(refused.exception))
