from tests.install.__main__ import direct_dependencies


def test_the_dependencies_are_those_without_an_extra_and_of_the_chosen_one():
    requirements = ["torch<2.16,>=2.14.1", "huggingface_hub>=0.36", "jsonargparse[signatures]>=4.49"]
    requirements += ["decord>=0.6; platform_machine == 'x86_64'"]
    requirements += ["onnx>=1.21; extra == 'export'", "fastapi>=0.118; extra == 'serve'"]
    names = direct_dependencies(requirements, "export")
    assert names == ["decord", "huggingface-hub", "jsonargparse", "onnx", "torch"]
