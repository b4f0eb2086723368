"""Lists: pages, names, filters, fields, order, references."""

from urllib.parse import parse_qs, urlparse

from controller import Case, control

MANY = 1005


class Paging(Case):
    def setUp(self):
        super().setUp()
        self.prefix = self.name("many")
        self.expected = ["%s-%04d" % (self.prefix, index) for index in range(MANY)]
        control.seed({"pool": [{"name": name} for name in self.expected]})

    def read_pages(self, **params):
        before = control.request_count("GET", "/api/pool")
        names = self.names("pool", **{"name.contains": self.prefix, **params})
        return names, control.request_count("GET", "/api/pool") - before

    def test_pages_list_each_object_once(self):
        for size, pages in ((100, 11), (200, 6)):
            with self.subTest(page_size=size):
                names, requests = self.read_pages(page_size=size, sort="name")
                self.assertEqual(names, self.expected)
                self.assertEqual(requests, pages)
        names, _ = self.read_pages(page_size=200)
        self.assertEqual(sorted(names), self.expected, "each object is listed once, also without an order")

    def test_next_is_an_absolute_url(self):
        params = {"name.contains": self.prefix, "page_size": 200, "sort": "-name"}
        first = self.api.get("pool", params=params).json()
        self.assertEqual((first["count"], len(first["results"])), (MANY, 200))
        following = urlparse(first["next"])
        self.assertEqual("%s://%s" % following[:2], self.api.prefix)
        query = parse_qs(following.query)
        self.assertEqual((query["page"], query["page_size"]), (["2"], ["200"]))
        path = following.path[len("/api/"):] + "?" + following.query
        second = self.api.get(path).json()
        self.assertEqual(second["results"][0]["name"], self.expected[-201], "next keeps filter and order")

    def test_the_last_page_is_short_and_has_no_next(self):
        params = {"name.contains": self.prefix, "page_size": 200, "page": 6}
        last = self.api.get("pool", params=params).json()
        self.assertEqual(len(last["results"]), MANY - 5 * 200)
        self.assertNotIn("next", last)

    def test_without_a_size_a_page_is_smaller_than_the_list(self):
        first = self.api.get("pool", params={"name.contains": self.prefix}).json()
        self.assertEqual(first["count"], MANY)
        self.assertLess(len(first["results"]), MANY)


class ByName(Case):
    def test_an_unknown_name(self):
        self.assertIsNone(self.api.get_object_by_name("pool", self.name("none")))
        reply = self.api.get("pool", params={"name": self.name("none")})
        self.assertEqual((reply.status_code, reply.json()["count"]), (200, 0))

    def test_a_name_that_other_names_contain(self):
        pools = [self.create("pool", name) for name in ("one", "one-more", "another-one")]
        found = self.api.get("pool", params={"name": self.name("one")}).json()
        self.assertEqual([entry["uuid"] for entry in found["results"]], [pools[0]["uuid"]])
        by_name = self.api.get_object_by_name("pool", self.name("one"))
        self.assertEqual(by_name["uuid"], pools[0]["uuid"])

    def test_several_networks_of_a_name(self):
        uuids = self.twins()
        found = self.api.get("network", params={"name": self.name("twin")}).json()
        self.assertEqual(found["count"], 2)
        self.assertEqual({entry["uuid"] for entry in found["results"]}, uuids)
        self.assertIn(self.api.get_object_by_name("network", self.name("twin"))["uuid"], uuids)

    def twins(self):
        """Seeds two networks with the same name, as a vCenter cloud finds them for port groups in two folders."""
        cloud = self.create("cloud", "vcenter", vtype="CLOUD_VCENTER")
        uuids = {"dvportgroup-%d-cloud-%s" % (moid, cloud["uuid"][len("cloud-"):]) for moid in (7, 8)}
        ref = cloud["url"].split("#")[0]
        networks = [{"uuid": uuid, "name": self.name("twin"), "cloud_ref": ref} for uuid in sorted(uuids)]
        control.seed({"network": networks})
        return uuids

    def test_names_with_spaces_and_signs(self):
        pool = self.create("pool", "a b&c=d+e/f%20#g ü")
        self.assertEqual(self.api.get_object_by_name("pool", pool["name"])["uuid"], pool["uuid"])

    def test_put_and_delete_by_name(self):
        pool = self.create("pool", "named", default_server_port=1)
        pool["default_server_port"] = 2
        self.assertEqual(self.api.put_by_name("pool", pool["name"], data=pool).status_code, 200)
        self.assertEqual(self.read("pool", pool["uuid"])["default_server_port"], 2)
        self.assertEqual(self.api.delete_by_name("pool", pool["name"]).status_code, 204)
        self.assertIsNone(self.api.get_object_by_name("pool", pool["name"]))


class Filters(Case):
    def setUp(self):
        super().setUp()
        for name, port, by in (("x", 3, "a"), ("y", 1, "b"), ("z", 2, "b")):
            self.create("pool", name, default_server_port=port, created_by=self.name(by))

    def test_names(self):
        x, y = self.name("x"), self.name("y")
        self.assertEqual(sorted(self.names("pool", **{"name.in": "%s,%s" % (x, y)})), [x, y])
        self.assertEqual(len(self.names("pool", **{"name.contains": self.suffix})), 3)

    def test_created_by(self):
        found = self.names("pool", created_by=self.name("b"))
        self.assertEqual(sorted(found), [self.name("y"), self.name("z")])

    def test_order(self):
        by_port = self.names("pool", **{"name.contains": self.suffix, "sort": "default_server_port"})
        self.assertEqual(by_port, [self.name(name) for name in "yzx"])
        by_name = self.names("pool", **{"name.contains": self.suffix, "sort": "-name"})
        self.assertEqual(by_name, [self.name(name) for name in "zyx"])

    def test_fields(self):
        params = {"name": self.name("x"), "fields": "name,default_server_port"}
        found = self.api.get("pool", params=params).json()["results"][0]
        self.assertEqual(found["default_server_port"], 3)
        self.assertNotIn("created_by", found)
        # Helpers of avisdk need these.
        self.assertIn("uuid", found)
        self.assertIn("url", found)

    def test_by_cloud(self):
        cloud = self.create("cloud", "other", vtype="CLOUD_NONE")
        ref = cloud["url"].split("#")[0]
        self.create("network", "there", cloud_ref=ref)
        self.create("network", "here", cloud_ref="/api/cloud/?name=Default-Cloud")
        for params in ({"cloud_ref.name": cloud["name"]}, {"cloud_ref.uuid": cloud["uuid"]}):
            with self.subTest(params=params):
                self.assertEqual(self.names("network", **params), [self.name("there")])
        # Tenants have no cloud, so none matches.
        self.assertEqual(self.names("tenant", **{"cloud_ref.name": cloud["name"]}), [])


class References(Case):
    def setUp(self):
        super().setUp()
        self.vrf = self.create("vrfcontext", "vrf", cloud_ref="/api/cloud/?name=Default-Cloud")
        self.pool = self.create("pool", "with-vrf", vrf_ref=self.vrf["url"].split("#")[0])
        self.create("pool", "without-vrf")

    def test_names_of_targets(self):
        self.assertTrue(self.pool["vrf_ref"].endswith("#" + self.vrf["name"]), self.pool["vrf_ref"])
        plain = self.read("pool", self.pool["uuid"])["vrf_ref"]
        self.assertEqual(plain, "%s/api/vrfcontext/%s" % (self.api.prefix, self.vrf["uuid"]))
        for value in ("", "true"):
            with self.subTest(include_name=value):
                named = self.read("pool", self.pool["uuid"], params={"include_name": value})["vrf_ref"]
                self.assertEqual(named, plain + "#" + self.vrf["name"])
        self.assertEqual(self.api.get_slug_from_uri(self.pool["vrf_ref"]), self.vrf["uuid"])

    def test_referrers_and_targets(self):
        referring = self.names("pool", refers_to="vrfcontext:" + self.vrf["uuid"])
        self.assertEqual(referring, [self.pool["name"]])
        referred = self.names("vrfcontext", referred_by="pool:" + self.pool["uuid"])
        self.assertEqual(referred, [self.vrf["name"]])
